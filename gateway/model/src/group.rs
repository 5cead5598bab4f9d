//! The action groups of the security table, by name and number, and sets of them. A certificate may limit what is signed
//! under it to some groups; which actions a group has is the table's business (crate `mexe-policy`).

use std::fmt;
use std::str::FromStr;

macro_rules! groups {
    ($($variant:ident, $number:literal, $name:literal;)*) => {
        /// One action group. The numbers are those of the table in docs/permissions.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ActionGroup {
            $(#[doc = $name] $variant = $number,)*
        }

        impl ActionGroup {
            /// Every group, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name: what stands before the dot in an action.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The number, from 1 on.
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The group of that number.
            pub const fn numbered(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

groups! {
    DeviceCore, 1, "device-core";
    CoreSoftware, 2, "core-software";
    SmartCard, 3, "smart-card";
    Security, 4, "security";
    NetworkProperty, 5, "network-property";
    Network, 6, "network";
    UserData, 7, "user-data";
    MexeSecurity, 8, "mexe-security";
    Application, 9, "application";
    LifeCycle, 10, "life-cycle";
    TerminalData, 11, "terminal-data";
    Peripheral, 12, "peripheral";
    UserInterface, 13, "user-interface";
}

impl fmt::Display for ActionGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ActionGroup {
    type Err = UnknownGroup;

    fn from_str(text: &str) -> Result<Self, UnknownGroup> {
        Self::ALL.iter().copied().find(|group| group.as_str() == text).ok_or(UnknownGroup)
    }
}

/// The text is no action group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an action group: docs/permissions.md lists them")]
pub struct UnknownGroup;

/// A set of action groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Groups(u16);

impl Groups {
    /// Every group: no limit.
    pub const ALL: Self = Self(0b11_1111_1111_1110);
    /// No group at all.
    pub const NONE: Self = Self(0);

    const fn bit(group: ActionGroup) -> u16 {
        1 << group.number()
    }

    /// With one more group.
    #[must_use]
    pub const fn with(self, group: ActionGroup) -> Self {
        Self(self.0 | Self::bit(group))
    }

    /// Whether a group is in it.
    pub const fn contains(self, group: ActionGroup) -> bool {
        self.0 & Self::bit(group) != 0
    }

    /// The groups that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The groups that are in it, by number.
    pub fn iter(self) -> impl Iterator<Item = ActionGroup> {
        ActionGroup::ALL.iter().copied().filter(move |group| self.contains(*group))
    }
}

impl FromIterator<ActionGroup> for Groups {
    fn from_iter<I: IntoIterator<Item = ActionGroup>>(groups: I) -> Self {
        groups.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(ActionGroup::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_known_by_name_and_number() {
        for (at, group) in ActionGroup::ALL.iter().enumerate() {
            assert_eq!(usize::from(group.number()), at + 1);
            assert_eq!(ActionGroup::numbered(group.number()), Some(*group));
            assert_eq!(group.as_str().parse(), Ok(*group));
        }
        assert_eq!(ActionGroup::numbered(0), None);
        assert_eq!(ActionGroup::numbered(14), None);
        assert_eq!("network.connect".parse::<ActionGroup>(), Err(UnknownGroup));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let all: Groups = ActionGroup::ALL.iter().copied().collect();
        assert_eq!(all, Groups::ALL);
        let some: Groups = [ActionGroup::Network, ActionGroup::UserInterface].into_iter().collect();
        assert_eq!(some.intersection(all), some);
        assert_eq!(
            some.intersection(Groups::NONE.with(ActionGroup::Network)).iter().collect::<Vec<_>>(),
            [ActionGroup::Network]
        );
        assert!(!some.contains(ActionGroup::UserData));
    }
}
