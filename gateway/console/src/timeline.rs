//! The picture of decisions over time: how many were allowed (above the line) and how many were refused or are still
//! asked (below it), in equal steps from the oldest to now. Whole numbers only; the template draws them as SVG.

/// How wide and how high half of it is, in the picture's own units.
const STEPS: u64 = 60;
const STEP: u64 = 10;
const HALF: u64 = 46;
/// Where the line is.
const LINE: u64 = 50;

/// One decision, or several equal ones.
pub(crate) struct Moment {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// Whether it was allowed.
    pub(crate) allowed: bool,
    /// For how many it stands.
    pub(crate) count: u64,
}

/// One bar.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) kind: &'static str,
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) height: u64,
}

/// The picture, and what it says in words.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) bars: Vec<Bar>,
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    /// The most of one kind in one step.
    pub(crate) most: u64,
}

impl Timeline {
    pub(crate) const WIDTH: u64 = STEPS * STEP;
    pub(crate) const BAR: u64 = STEP - 2;
    pub(crate) const LINE: u64 = LINE;

    /// Of these moments, up to `now`, milliseconds since 1970.
    pub(crate) fn of(moments: &[Moment], now: u64) -> Self {
        let Some(first) = moments.iter().map(|moment| moment.at).min() else { return Self::default() };
        let span = now.saturating_sub(first).max(1);
        let mut steps = vec![(0_u64, 0_u64); usize::try_from(STEPS).unwrap_or_default()];
        let mut picture = Self::default();
        for moment in moments {
            let into = u128::from(moment.at.saturating_sub(first)) * u128::from(STEPS) / u128::from(span);
            let step = usize::try_from(into).unwrap_or(usize::MAX).min(steps.len().saturating_sub(1));
            let Some((allowed, refused)) = steps.get_mut(step) else { continue };
            if moment.allowed {
                *allowed = allowed.saturating_add(moment.count);
                picture.allowed = picture.allowed.saturating_add(moment.count);
            } else {
                *refused = refused.saturating_add(moment.count);
                picture.refused = picture.refused.saturating_add(moment.count);
            }
        }
        picture.most = steps.iter().map(|(allowed, refused)| *allowed.max(refused)).max().unwrap_or_default();
        let most = u128::from(picture.most.max(1));
        // What happened at all is seen, however much happened elsewhere.
        let high = |count: u64| {
            u64::try_from(u128::from(count) * u128::from(HALF) / most)
                .unwrap_or(HALF)
                .max(u64::from(count > 0) * 2)
        };
        for (step, (allowed, refused)) in (0..).zip(steps) {
            let x = step * STEP + 1;
            if allowed > 0 {
                let height = high(allowed);
                picture.bars.push(Bar { kind: "allowed", x, y: LINE.saturating_sub(height), height });
            }
            if refused > 0 {
                picture.bars.push(Bar { kind: "refused", x, y: LINE, height: high(refused) });
            }
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at: u64, allowed: bool, count: u64) -> Moment {
        Moment { at, allowed, count }
    }

    #[test]
    fn bars_stand_where_and_as_high_as_what_happened() {
        let picture = Timeline::of(&[moment(0, true, 10), moment(5, true, 10), moment(600, false, 5)], 600);
        assert_eq!((picture.allowed, picture.refused, picture.most), (20, 5, 20));
        let expected = [
            Bar { kind: "allowed", x: 1, y: 4, height: 46 },
            Bar { kind: "refused", x: 591, y: 50, height: 11 },
        ];
        assert_eq!(picture.bars, expected);
    }

    #[test]
    fn nothing_and_absurd_numbers_draw_something_inside_the_picture() {
        assert!(Timeline::of(&[], 5).bars.is_empty());
        // A clock that was set back, and counts beyond all measure.
        let absurd = [moment(u64::MAX, true, u64::MAX), moment(9, true, u64::MAX), moment(1, false, 1)];
        for bar in Timeline::of(&absurd, 3).bars {
            assert!(bar.x < Timeline::WIDTH && bar.y + bar.height <= 100 && bar.height >= 2, "{bar:?}");
        }
    }
}
