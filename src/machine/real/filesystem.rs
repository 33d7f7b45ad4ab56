//! What is known of a filesystem.

use std::io;
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{PathconfVar, pathconf};

use super::uninterrupted;
use crate::machine::Filesystem;

pub(super) fn filesystem(path: &Path) -> io::Result<Filesystem> {
    let kind = kind(path)?;
    let room = uninterrupted(|| Ok(statvfs(path)?))?;
    Ok(Filesystem {
        local: LOCAL.contains(&kind.as_str()),
        kind,
        read_only: room.flags().contains(FsFlags::ST_RDONLY),
        free_bytes: free_bytes(path)?,
        // A filesystem that makes inodes as it needs them, such as btrfs, has neither a total nor a rest.
        free_inodes: if room.files() == 0 { u64::MAX } else { wide(room.files_available()) },
    })
}

/// `statvfs` counts in fragments. (`statfs` names a size that network and user space filesystems do not count in.)
#[cfg(target_os = "linux")]
fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = uninterrupted(|| Ok(statvfs(path)?))?;
    Ok(wide(room.blocks_available()).saturating_mul(wide(room.fragment_size())))
}

/// The counts of `statvfs` have 32 bits on macOS, those of `statfs` 64.
#[cfg(not(target_os = "linux"))]
fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = uninterrupted(|| Ok(statfs(path)?))?;
    Ok(wide(room.blocks_available()).saturating_mul(wide(room.block_size())))
}

/// The counts are not equally wide on all platforms.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

/// The most names that a file may have there, if the filesystem says.
pub(super) fn link_limit(path: &Path) -> io::Result<Option<u64>> {
    Ok(pathconf(path, PathconfVar::LINK_MAX)?.and_then(|limit| u64::try_from(limit).ok()))
}

#[cfg(target_os = "linux")]
fn kind(path: &Path) -> io::Result<String> {
    // The type is signed or not, and 32 or 64 bits wide, depending on the platform: the magic is its low 32 bits.
    Ok(kind_of(uninterrupted(|| Ok(statfs(path)?))?.filesystem_type().0 as u32))
}

#[cfg(not(target_os = "linux"))]
fn kind(path: &Path) -> io::Result<String> {
    Ok(uninterrupted(|| Ok(statfs(path)?))?.filesystem_type_name().to_owned())
}

#[cfg(target_os = "linux")]
fn kind_of(magic: u32) -> String {
    match MAGIC.iter().find(|(known, _)| *known == magic) {
        Some((_, kind)) => (*kind).to_owned(),
        None => format!("{magic:#x}"),
    }
}

/// Filesystems of this machine alone. One that is not known is not among them: `flock` might not bind its other users.
const LOCAL: &[&str] = &[
    "apfs",
    "bcachefs",
    "btrfs",
    "cramfs",
    "ecryptfs",
    "erofs",
    "exfat",
    "ext4",
    "f2fs",
    "hfs",
    "hfsplus",
    "iso9660",
    "jffs2",
    "jfs",
    "minix",
    "msdos",
    "nilfs",
    "ntfs",
    "ntfs3",
    "overlayfs",
    "ramfs",
    "reiserfs",
    "squashfs",
    "tmpfs",
    "ubifs",
    "udf",
    "ufs",
    "vfat",
    "xfs",
    "zfs",
];

/// `linux/magic.h`, and the sources of filesystems that do not list theirs there. ext2 and ext3 have ext4's.
#[cfg(target_os = "linux")]
const MAGIC: &[(u32, &str)] = &[
    (0x0000_1373, "devfs"),
    (0x0000_137f, "minix"),
    (0x0000_2468, "minix"),
    (0x0000_3434, "nilfs"),
    (0x0000_4244, "hfs"),
    (0x0000_482b, "hfsplus"),
    (0x0000_4d44, "vfat"),
    (0x0000_4d5a, "minix"),
    (0x0000_517b, "smb"),
    (0x0000_564c, "ncp"),
    (0x0000_6969, "nfs"),
    (0x0000_72b6, "jffs2"),
    (0x0000_9660, "iso9660"),
    (0x0000_9fa0, "proc"),
    (0x0000_ef53, "ext4"),
    (0x0000_f15f, "ecryptfs"),
    (0x0001_1954, "ufs"),
    (0x00c3_6400, "ceph"),
    (0x0102_1994, "tmpfs"),
    (0x0102_1997, "9p"),
    (0x0116_1970, "gfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x1501_3346, "udf"),
    (0x1983_0326, "beegfs"),
    (0x2003_0528, "orangefs"),
    (0x2011_bab0, "exfat"),
    (0x2405_1905, "ubifs"),
    (0x28cd_3d45, "cramfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x3153_464a, "jfs"),
    (0x4750_4653, "gpfs"),
    (0x5265_4973, "reiserfs"),
    (0x5346_414f, "afs"),
    (0x5346_544e, "ntfs"),
    (0x5846_5342, "xfs"),
    (0x6265_6572, "sysfs"),
    (0x6573_5546, "fuse"),
    (0x6b41_4653, "afs"),
    (0x7366_746e, "ntfs3"),
    (0x7371_7368, "squashfs"),
    (0x7375_7245, "coda"),
    (0x7461_636f, "ocfs2"),
    (0x786f_4256, "vboxsf"),
    (0x794c_7630, "overlayfs"),
    (0x8584_58f6, "ramfs"),
    (0x9123_683e, "btrfs"),
    (0xaad7_aaea, "panfs"),
    (0xca45_1a4e, "bcachefs"),
    (0xf2f5_2010, "f2fs"),
    (0xfe53_4d42, "smb2"),
    (0xff53_4d42, "cifs"),
];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use nix::sys::statfs as known;

    #[test]
    fn the_names_are_those_of_the_kernel() {
        let expected = [
            (known::EXT4_SUPER_MAGIC, "ext4", true),
            (known::BTRFS_SUPER_MAGIC, "btrfs", true),
            (known::XFS_SUPER_MAGIC, "xfs", true),
            (known::F2FS_SUPER_MAGIC, "f2fs", true),
            (known::TMPFS_MAGIC, "tmpfs", true),
            (known::OVERLAYFS_SUPER_MAGIC, "overlayfs", true),
            (known::REISERFS_SUPER_MAGIC, "reiserfs", true),
            (known::NFS_SUPER_MAGIC, "nfs", false),
            (known::SMB_SUPER_MAGIC, "smb", false),
            (known::FUSE_SUPER_MAGIC, "fuse", false),
            (known::AFS_SUPER_MAGIC, "afs", false),
            (known::CODA_SUPER_MAGIC, "coda", false),
            (known::OCFS2_SUPER_MAGIC, "ocfs2", false),
            (known::NCP_SUPER_MAGIC, "ncp", false),
            (known::PROC_SUPER_MAGIC, "proc", false),
        ];
        for (magic, name, local) in expected {
            let kind = kind_of(magic.0 as u32);
            assert_eq!(kind, name);
            assert_eq!(LOCAL.contains(&name), local, "{name}");
        }
        assert_eq!(kind_of(0xff53_4d42), "cifs");
        assert_eq!(kind_of(0xfe53_4d42), "smb2");
        assert_eq!(kind_of(0xdead_beef), "0xdeadbeef");
        assert!(!LOCAL.contains(&"0xdeadbeef"));
    }

    #[test]
    fn the_tables_are_in_order_and_without_doubles() {
        assert!(MAGIC.is_sorted_by(|a, b| a.0 < b.0));
        assert!(LOCAL.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn real_filesystems_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let here = filesystem(dir.path()).unwrap();
        assert!(!here.read_only);
        assert!(here.free_bytes > 0 && here.free_inodes > 0);
        let proc = filesystem(Path::new("/proc")).unwrap();
        assert_eq!((proc.kind.as_str(), proc.local, proc.free_inodes), ("proc", false, u64::MAX));
        assert_eq!(filesystem(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
