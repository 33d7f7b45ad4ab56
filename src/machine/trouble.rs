//! What an error of a call means where its kind does not tell.

use std::io;

/// Whether the call failed for want of something that comes back by itself: descriptors, memory, another try.
pub fn is_transient(error: &io::Error) -> bool {
    let by_number = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EINTR];
    error.raw_os_error().is_some_and(|number| by_number.contains(&number))
}

/// Whether it is `EPERM`: what was asked for is forbidden or impossible here, whatever the permission bits say. `EACCES`
/// has the same [`io::ErrorKind`].
pub fn is_not_permitted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

/// Whether it is `ELOOP`: the last component is a symbolic link, where none is followed.
pub fn is_symlink(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// Whether the disk could not give what was written to it, or gave something that its own checksum does not match.
pub fn is_disk(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| [libc::EIO, libc::EBADMSG].contains(&number))
}

/// Whether this filesystem, or the kernel, has no such call.
pub fn is_unsupported(error: &io::Error) -> bool {
    let by_number = [libc::ENOTSUP, libc::EOPNOTSUPP, libc::ENOSYS];
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error().is_some_and(|n| by_number.contains(&n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_share_a_kind_are_told_apart() {
        let error = io::Error::from_raw_os_error;
        assert!(is_not_permitted(&error(libc::EPERM)) && !is_not_permitted(&error(libc::EACCES)));
        assert!(is_transient(&error(libc::EMFILE)) && !is_transient(&error(libc::EIO)));
        assert!(is_unsupported(&error(libc::EOPNOTSUPP)) && is_unsupported(&io::ErrorKind::Unsupported.into()));
        assert!(!is_unsupported(&error(libc::EXDEV)));
        assert!(is_disk(&error(libc::EIO)) && !is_disk(&error(libc::EACCES)));
    }
}
