//! What the datagrams of one direction of a link meet, and what becomes of each.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// What the datagrams of a lane meet. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// None gets through.
    pub cut: bool,
    /// How many of a thousand are lost.
    pub loss_per_mille: u16,
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer it takes at most. Datagrams overtake each other by it.
    pub jitter: Duration,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Wait(Duration),
    Drop,
}

/// Decides what becomes of the datagrams of a lane, one after the other.
#[derive(Debug)]
pub(super) struct Fates(Xoshiro256PlusPlus);

impl Fates {
    pub(super) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(super) fn draw(&mut self, weather: Weather) -> Fate {
        let Weather { cut, loss_per_mille, delay, jitter } = weather;
        if cut || loss_per_mille > 0 && self.0.random_range(0..1_000) < loss_per_mille {
            return Fate::Drop;
        }
        if delay.is_zero() && jitter.is_zero() {
            return Fate::Pass;
        }
        Fate::Wait(delay + jitter.mul_f64(self.0.random()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, weather: Weather) -> Vec<Fate> {
        let mut fates = Fates::new(seed);
        (0..10_000).map(|_| fates.draw(weather)).collect()
    }

    #[test]
    fn a_share_is_dropped_and_a_seed_drops_the_same() {
        let weather = Weather { loss_per_mille: 200, ..Weather::default() };
        let fates = drawn(7, weather);
        let dropped = fates.iter().filter(|fate| **fate == Fate::Drop).count();
        assert!((1_800..2_200).contains(&dropped), "seed 7: {dropped}");
        assert_eq!(fates, drawn(7, weather));
        assert_ne!(fates, drawn(8, weather));
    }

    #[test]
    fn all_pass_in_clear_weather_none_over_a_cut_and_delays_lie_between_their_bounds() {
        assert!(drawn(1, Weather::default()).iter().all(|fate| *fate == Fate::Pass));
        assert!(drawn(1, Weather { cut: true, ..Weather::default() }).iter().all(|fate| *fate == Fate::Drop));
        let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(5));
        for fate in drawn(1, Weather { delay, jitter, ..Weather::default() }) {
            assert!(matches!(fate, Fate::Wait(time) if (delay..=delay + jitter).contains(&time)), "seed 1: {fate:?}");
        }
    }
}
