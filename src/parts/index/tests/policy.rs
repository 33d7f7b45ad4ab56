//! When runs are merged: how many there are and how often a record is written.

use super::*;

/// Folds `flushes` runs of the given sizes one after the other, merging as planned; gives the bytes written for each
/// byte folded and the most runs there ever were.
fn simulate(flushes: u32, size: impl Fn(u32) -> u64) -> (f64, usize) {
    let (mut runs, mut folded, mut written, mut most) = (Vec::new(), 0, 0, 0);
    for n in 0..flushes {
        let meta = |size_bytes| RunMeta { id: RunId::from_bytes([0; 8]), size_bytes, records: size_bytes };
        runs.push(meta(size(n)));
        folded += size(n);
        written += size(n);
        if let Some(range) = plan_merge(&runs) {
            assert!(range.len() >= 2);
            let merged = meta(runs[range.clone()].iter().map(|run| run.size_bytes).sum());
            written += merged.size_bytes;
            runs.splice(range, [merged]);
        }
        most = most.max(runs.len());
    }
    (written as f64 / folded as f64, most)
}

#[test]
fn the_number_of_runs_and_the_work_of_merging_are_bounded() {
    let random = |n: u32| u64::from(blake3::hash(&n.to_le_bytes()).as_bytes()[0]) * 1000 + 1;
    for flushes in [100, 1_000, 10_000, 100_000] {
        let limit = f64::from(flushes).log2() + 1.0;
        let bursts = |n: u32| if random(n) < 25_000 { 65_536 } else { 2_048 };
        for (amplification, most) in
            [simulate(flushes, |_| 200_000), simulate(flushes, random), simulate(flushes, bursts)]
        {
            assert!(most <= RUNS_MAX, "{most} runs of {flushes}");
            assert!(amplification < limit, "{amplification} times for {flushes}");
        }
    }
}

#[test]
fn growing_shrinking_and_wild_sizes_keep_the_bound() {
    for size in [|n: u32| u64::from(n) + 1, |n: u32| u64::from(100_001 - n), |n: u32| 1 << (n % 40), |_: u32| 0] {
        assert!(simulate(2_000, size).1 <= RUNS_MAX);
    }
}

#[test]
fn runs_that_piled_up_are_merged_to_the_bound_at_once() {
    let meta = |n: u32| RunMeta { id: RunId::from_bytes([0; 8]), size_bytes: 1 << (60 - n), records: 1 };
    for count in 0..=60 {
        let runs = (0..count).map(meta).collect::<Vec<_>>();
        let left = plan_merge(&runs).map_or(runs.len(), |range| runs.len() - range.len() + 1);
        assert!(left <= RUNS_MAX, "{left} of {count}");
    }
    let huge = RunMeta { size_bytes: u64::MAX, ..meta(0) };
    assert!(plan_merge(&[huge; 9]).is_some());
    assert_eq!(plan_merge(&[huge]), None);
}
