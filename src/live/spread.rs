//! Distributions in few buckets: what a heat map draws, and what counts since the start come to in a second.

use hdrhistogram::Histogram;
use tidegate_http::Spread;

/// Four buckets to a doubling; the first one holds all up to 1.28 us, as the reactors' own do.
const FIRST_BIT: u32 = 10;
const BUCKETS: usize = 4 * 27;

fn bucket(ns: u64) -> u8 {
    let ns = ns.max(1 << FIRST_BIT);
    let bit = ns.ilog2();
    let at = (bit - FIRST_BIT) as usize * 4 + ((ns >> (bit - 2)) & 3) as usize;
    at.min(BUCKETS - 1) as u8
}

/// `None` where nothing was recorded.
pub fn of(histogram: &Histogram<u32>) -> Option<Spread> {
    if histogram.is_empty() {
        return None;
    }
    let mut counts: Vec<(u8, u32)> = Vec::new();
    for value in histogram.iter_recorded() {
        let (at, n) = (bucket(value.value_iterated_to()), value.count_at_value());
        match counts.last_mut() {
            Some((last, sum)) if *last == at => *sum = sum.saturating_add(n),
            _ => counts.push((at, n)),
        }
    }
    let ns = |share| histogram.value_at_quantile(share);
    let (p50_ns, p90_ns, p99_ns) = (ns(0.5), ns(0.9), ns(0.99));
    Some(Spread { count: histogram.len(), p50_ns, p90_ns, p99_ns, max_ns: histogram.max(), counts: counts.into() })
}

/// What was added to counts by bucket, in the order of the buckets.
pub fn since(before: &[(u64, u64)], now: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let was = |bound: u64| before.iter().find(|(other, _)| *other == bound).map_or(0, |(_, n)| *n);
    now.iter().map(|(bound, n)| (*bound, n.saturating_sub(was(*bound)))).filter(|(_, n)| *n > 0).collect()
}

/// The upper bound of the bucket in which a quantile lies; `None` of nothing.
pub fn quantile(counts: &[(u64, u64)], share: f64) -> Option<u64> {
    let all: u64 = counts.iter().map(|(_, n)| n).sum();
    let wanted = all as f64 * share;
    let mut seen = 0;
    counts.iter().find_map(|(bound, n)| {
        seen += n;
        (*n > 0 && seen as f64 >= wanted).then_some(*bound)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the admin API's document says it.
    fn bound(bucket: u8) -> u64 {
        ((5 + u64::from(bucket) % 4) << (u64::from(bucket) / 4 + 8)) - 1
    }

    #[test]
    fn a_value_lies_in_its_bucket() {
        for ns in [0, 1024, 1279, 1280, 5_000, 1 << 20, (1 << 20) - 1, 999_999_999] {
            let at = bucket(ns);
            assert!(ns <= bound(at) && (at == 0 || ns > bound(at - 1)), "{ns} in {at}");
        }
        assert_eq!(bucket(u64::MAX), 107);
    }

    #[test]
    fn all_values_are_in_the_counts() {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000_000, 2).unwrap();
        assert_eq!(of(&histogram), None);
        (1..=1_000u64).for_each(|n| histogram.record(n * 10_000).unwrap());
        let spread = of(&histogram).unwrap();
        assert_eq!((spread.count, spread.counts.iter().map(|(_, n)| u64::from(*n)).sum::<u64>()), (1_000, 1_000));
        assert!(spread.counts.is_sorted_by(|a, b| a.0 < b.0), "{:?}", spread.counts);
        assert!((4_900_000..5_100_000).contains(&spread.p50_ns), "{}", spread.p50_ns);
    }

    #[test]
    fn quantiles_are_of_what_was_added() {
        let added = since(&[(10, 1_000)], &[(10, 1_990), (20, 10), (30, 1)]);
        assert_eq!(added, [(10, 990), (20, 10), (30, 1)]);
        assert_eq!(
            (quantile(&added, 0.5), quantile(&added, 0.99), quantile(&added, 1.0)),
            (Some(10), Some(20), Some(30))
        );
        assert_eq!(quantile(&since(&added, &added), 0.5), None);
    }
}
