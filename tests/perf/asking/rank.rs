//! Figures by rank: the middle one, and the one that a hundredth exceeds.

use std::time::Duration;

/// The figure that this share of all does not exceed.
pub fn rank(figures: &[Duration], share: f64) -> Duration {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// Milliseconds of these ranks as cells of a table.
pub fn cells(figures: &[Duration]) -> String {
    let cell = |share| format!("{:.2}", rank(figures, share).as_secs_f64() * 1e3);
    [0.5, 0.99, 1.0].map(cell).join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_figure_that_the_share_does_not_exceed() {
        let figures: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let ranks = [0.5, 0.99, 1.0].map(|share| rank(&figures, share).as_millis());
        assert_eq!(ranks, [100, 198, 200]);
        assert_eq!(rank(&[], 0.5), Duration::ZERO);
        assert_eq!(cells(&figures[..1]), "200.00 | 200.00 | 200.00");
    }
}
