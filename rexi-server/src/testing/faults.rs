//! What can happen to the links and the clocks of a test cluster, and who watches its datagrams.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::TestCluster;
use super::network::{Datagram, Link};

impl TestCluster {
    /// Loses every datagram between the two, both ways, also those on their way. Neither is told.
    ///
    /// # Panics
    /// Where there is no such member. All methods that change links or clocks do the same.
    #[track_caller]
    pub fn cut(&self, one: &str, other: &str) {
        self.change(one, other, |link| link.cut = true);
    }

    /// Loses what the one sends to the other, and not what the other sends back.
    #[track_caller]
    pub fn cut_one_way(&self, from: &str, to: &str) {
        self.network.change(self.host(from), self.host(to), |link| link.cut = true);
    }

    /// Makes the link between the two as it was at first, both ways: not cut, not slow, without loss, in order.
    #[track_caller]
    pub fn heal(&self, one: &str, other: &str) {
        self.change(one, other, |link| *link = Link::default());
    }

    /// Makes all links as they were at first.
    pub fn heal_all(&self) {
        self.network.heal_all();
    }

    /// Gives each datagram between the two that long to arrive, both ways, from the next one on. It is a millisecond at
    /// first.
    #[track_caller]
    pub fn slow(&self, one: &str, other: &str, delay: Duration) {
        self.change(one, other, |link| link.delay = delay);
    }

    /// Loses datagrams between the two with this probability, both ways: 0 for none, 1 for all. Values beyond are taken
    /// as the nearest of these, and NaN as 0.
    #[track_caller]
    pub fn lose(&self, one: &str, other: &str, probability: f64) {
        self.change(one, other, |link| link.loss = clamped(probability));
    }

    /// Delivers datagrams between the two twice with this probability, both ways; as [`TestCluster::lose`] takes it.
    #[track_caller]
    pub fn duplicate(&self, one: &str, other: &str, probability: f64) {
        self.change(one, other, |link| link.twice = clamped(probability));
    }

    /// Lets datagrams between the two overtake each other, both ways: each takes up to this much longer, by chance, in
    /// whole milliseconds.
    #[track_caller]
    pub fn reorder(&self, one: &str, other: &str, jitter: Duration) {
        self.change(one, other, |link| link.jitter = jitter);
    }

    /// Sets a member's wall clock ahead, by ten years in all at most. What has run on tokio's time is not changed.
    #[track_caller]
    pub fn set_clock_ahead(&self, member: &str, by: Duration) {
        self.clock.set_ahead(self.members.find(member).number, by);
    }

    /// Sets a member's wall clock back, by 25 years in all at most. A node that starts then is of an earlier life than
    /// the one before it.
    #[track_caller]
    pub fn set_clock_back(&self, member: &str, by: Duration) {
        self.clock.set_back(self.members.find(member).number, by);
    }

    /// Sets a member's wall clock right again, to the time that has passed.
    #[track_caller]
    pub fn set_clock_right(&self, member: &str) {
        self.clock.set_right(self.members.find(member).number);
    }

    /// A member's wall clock, which gives no time twice.
    #[track_caller]
    pub fn wall_clock(&self, member: &str) -> SystemTime {
        self.clock.next_microsecond(self.members.find(member).number)
    }

    /// Shows each datagram that is sent from now on, by any node, before anything else is known of it: two runs of one
    /// seed can be compared by it, event for event. It is called while the network is locked, so it must neither send
    /// nor change a link. It takes an earlier observer's place.
    pub fn observe(&self, observer: impl FnMut(&Datagram<'_>) + Send + 'static) {
        self.network.observe(Box::new(observer));
    }

    fn change(&self, one: &str, other: &str, change: impl Fn(&mut Link)) {
        let (one, other) = (self.host(one), self.host(other));
        self.network.change(one, other, &change);
        self.network.change(other, one, change);
    }

    #[track_caller]
    fn host(&self, member: &str) -> IpAddr {
        self.members.find(member).address.ip()
    }
}

fn clamped(probability: f64) -> f64 {
    if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) }
}
