//! How urgent a deployment is beside those of other targets: pure.
//!
//! It never changes the order within a target, which is the order of ids alone.

use super::trigger::Trigger;

/// The class of a waiting deployment; a target competes with the class of the one that is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Brings an older release back.
    Rollback,
    /// Somebody waits for it.
    Manual,
    /// Nobody asked for it by hand.
    Automatic,
}

impl Priority {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Rollback, Self::Manual, Self::Automatic];

    /// The name, as in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Manual => "manual",
            Self::Automatic => "automatic",
        }
    }

    /// Its place among the classes; 0 is the most urgent.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::Rollback => 0,
            Self::Manual => 1,
            Self::Automatic => 2,
        }
    }

    /// The class at a place.
    #[must_use]
    pub fn from_rank(rank: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.rank() == rank)
    }
}

impl From<Trigger> for Priority {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Rollback => Self::Rollback,
            Trigger::Manual | Trigger::Retry => Self::Manual,
            Trigger::Webhook | Trigger::Schedule => Self::Automatic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_order_of_the_classes() {
        for (place, class) in (0_u8..).zip(Priority::ALL) {
            assert_eq!(class.rank(), place);
            assert_eq!(Priority::from_rank(place), Some(class));
        }
        assert_eq!(Priority::from_rank(3), None);
        assert!(Priority::ALL.is_sorted());
    }

    #[test]
    fn whoever_waits_in_person_goes_before_what_nobody_asked_for() {
        let class = |trigger: Trigger| Priority::from(trigger).as_str();
        let classes = Trigger::ALL.map(|trigger| (trigger.as_str(), class(trigger)));
        assert_eq!(
            classes,
            [
                ("manual", "manual"),
                ("retry", "manual"),
                ("webhook", "automatic"),
                ("schedule", "automatic"),
                ("rollback", "rollback"),
            ]
        );
    }
}
