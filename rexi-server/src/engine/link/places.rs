//! Places for connections that are half open: some for all strangers, a share of them for each source, and a few for
//! each address that is known, so that no crowd of strangers keeps a member out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::net::{INCOMING_MAX, INCOMING_OF_KNOWN_MAX, INCOMING_OF_SOURCE_MAX, INCOMING_UNVALIDATED_MAX};

/// Who holds a place.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    strangers: usize,
    by_source: BTreeMap<IpAddr, usize>,
    known: BTreeMap<SocketAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    from: SocketAddr,
    is_known: bool,
    /// Whether so many strangers are half open that each has less time.
    pub(super) is_scarce: bool,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// It has yet to show that it receives at the address it sends from.
    Unvalidated,
    /// All are taken.
    Full,
}

impl Places {
    /// A place for who asks from this address. That it is the address of a member or of a peer may be a lie for as long
    /// as it is not validated.
    pub(super) fn take(
        self: &Arc<Self>,
        from: SocketAddr,
        is_known: bool,
        is_validated: bool,
    ) -> Result<Place, NoPlace> {
        let mut held = self.held();
        let is_scarce = held.strangers >= INCOMING_UNVALIDATED_MAX;
        if is_known {
            let of_it = held.known.get(&from).copied().unwrap_or_default();
            match is_validated {
                false if of_it > 0 => return Err(NoPlace::Unvalidated),
                true if of_it >= INCOMING_OF_KNOWN_MAX => return Err(NoPlace::Full),
                _ => *held.known.entry(from).or_default() += 1,
            }
        } else {
            let of_source = held.by_source.get(&from.ip()).copied().unwrap_or_default();
            if is_scarce && !is_validated {
                return Err(NoPlace::Unvalidated);
            }
            if held.strangers >= INCOMING_MAX || of_source >= INCOMING_OF_SOURCE_MAX {
                return Err(NoPlace::Full);
            }
            held.strangers += 1;
            *held.by_source.entry(from.ip()).or_default() += 1;
        }
        drop(held);
        Ok(Place { places: Arc::clone(self), from, is_known, is_scarce: is_scarce && !is_known })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("nothing panics while it holds the places")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        if self.is_known {
            give_back(&mut held.known, &self.from);
        } else {
            held.strangers -= 1;
            give_back(&mut held.by_source, &self.from.ip());
        }
    }
}

fn give_back<K: Ord>(held: &mut BTreeMap<K, usize>, of: &K) {
    if let Some(count) = held.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            held.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(source: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, source], port))
    }

    fn take(places: &Arc<Places>, from: SocketAddr, is_known: bool, is_validated: bool) -> Result<Place, NoPlace> {
        places.take(from, is_known, is_validated)
    }

    #[test]
    fn a_source_has_a_share_and_strangers_have_a_number_and_what_they_give_back_is_taken_again() {
        let places = Arc::new(Places::default());
        let fill = |source: u8, many: usize| -> Vec<Place> {
            (0..many).map(|port| take(&places, from(source, port as u16), false, true).expect("a place")).collect()
        };
        let mut held = fill(1, INCOMING_OF_SOURCE_MAX);
        assert_eq!(take(&places, from(1, 9_999), false, true).err(), Some(NoPlace::Full), "one source has half");
        held.extend(fill(2, INCOMING_MAX - INCOMING_OF_SOURCE_MAX));
        assert_eq!(take(&places, from(3, 1), false, true).err(), Some(NoPlace::Full), "no more strangers");
        held.truncate(INCOMING_MAX - 1);
        held.push(take(&places, from(3, 1), false, true).expect("a place that was given back"));
        held.clear();
        let empty = places.held();
        assert!(empty.strangers == 0 && empty.by_source.is_empty() && empty.known.is_empty());
    }

    #[test]
    fn a_member_gets_in_whatever_strangers_do_and_whoever_says_to_be_at_its_address() {
        let places = Arc::new(Places::default());
        let fill = |(source, port)| take(&places, from(source, port), false, true).expect("a place");
        let _strangers: Vec<_> = (0..INCOMING_MAX as u16).map(|at| fill((at as u8, at))).collect();
        // Somebody says to send from the member's address, and never shows it: the member shows it.
        let member = from(1, 4_001);
        let lie = take(&places, member, true, false).expect("perhaps it is the member");
        assert!(!lie.is_scarce, "a member has its time");
        assert_eq!(take(&places, member, true, false).err(), Some(NoPlace::Unvalidated));
        let own: Vec<_> = (1..INCOMING_OF_KNOWN_MAX).map(|_| take(&places, member, true, true)).collect();
        assert!(own.iter().all(Result::is_ok));
        assert_eq!(take(&places, member, true, true).err(), Some(NoPlace::Full), "it needs no more at once");
        assert!(take(&places, from(1, 4_002), true, true).is_ok(), "another member has its own");
    }

    #[test]
    fn strangers_have_less_time_and_show_their_address_once_a_quarter_of_the_places_is_taken() {
        let places = Arc::new(Places::default());
        let few: Vec<_> =
            (0..INCOMING_UNVALIDATED_MAX as u16).map(|at| take(&places, from(1, at), false, false)).collect();
        assert!(few.iter().all(|place| place.as_ref().is_ok_and(|place| !place.is_scarce)));
        assert_eq!(take(&places, from(2, 1), false, false).err(), Some(NoPlace::Unvalidated));
        assert!(take(&places, from(2, 1), false, true).expect("a place").is_scarce);
    }
}
