//! What an API key may do, as a closed list of scopes.
//!
//! Owns their names and what includes what. Refuses to know methods: which
//! method needs which scope is the table in `auth/rules.rs`.
//! Invariant: a name that is not known grants nothing.

use std::fmt;

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    ConfigRead,
    ConfigWrite,
    EventsRead,
    EventsPayload,
    EventsExecute,
    FleetRead,
    FleetAdmin,
    KeysAdmin,
    AuditRead,
    InstallationAdmin,
}

impl Scope {
    pub const ALL: [Self; 10] = [
        Self::ConfigRead,
        Self::ConfigWrite,
        Self::EventsRead,
        Self::EventsPayload,
        Self::EventsExecute,
        Self::FleetRead,
        Self::FleetAdmin,
        Self::KeysAdmin,
        Self::AuditRead,
        Self::InstallationAdmin,
    ];

    /// The name in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigRead => "config:read",
            Self::ConfigWrite => "config:write",
            Self::EventsRead => "events:read",
            Self::EventsPayload => "events:payload",
            Self::EventsExecute => "events:execute",
            Self::FleetRead => "fleet:read",
            Self::FleetAdmin => "fleet:admin",
            Self::KeysAdmin => "keys:admin",
            Self::AuditRead => "audit:read",
            Self::InstallationAdmin => "installation:admin",
        }
    }

    /// The scope that comes with this one: whoever may change may look.
    const fn includes(self) -> Option<Self> {
        match self {
            Self::ConfigWrite => Some(Self::ConfigRead),
            Self::EventsPayload | Self::EventsExecute => Some(Self::EventsRead),
            Self::FleetAdmin => Some(Self::FleetRead),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes, with all that they include.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Everything there is.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Everything within one team. Agents serve all teams, so how they are run
    /// is not within one.
    #[must_use]
    pub fn of_team() -> Self {
        let above = Scope::InstallationAdmin.bit() | Scope::FleetAdmin.bit();
        Self(Self::all().0 & !above)
    }

    /// # Errors
    /// The first name that is no scope.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut found = Vec::new();
        for name in names {
            found
                .push(Scope::named(name).ok_or_else(|| name.chars().take(32).collect::<String>())?);
        }
        Ok(found.into_iter().collect())
    }

    /// What stands in a column. Names of a later release grant nothing here.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        text.split(' ').filter_map(Scope::named).collect()
    }

    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that the other set has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let with_included = |bits: u16, scope: Scope| {
            let included = scope.includes().map_or(0, Scope::bit);
            bits | scope.bit() | included
        };
        Self(scopes.into_iter().fold(0, with_included))
    }
}

/// As in the column: names with a space between.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(" "))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_change_may_look_and_not_the_other_way_round() {
        let writer = Scopes::parse(["config:write"]).expect("it is one");
        assert!(writer.has(Scope::ConfigRead));
        let reader = Scopes::parse(["config:read"]).expect("it is one");
        assert!(!reader.has(Scope::ConfigWrite));
    }

    #[test]
    fn every_scope_is_read_back_by_its_name_and_a_strange_one_grants_nothing() {
        for scope in Scope::ALL {
            let only: Scopes = [scope].into_iter().collect();
            assert_eq!(Scopes::stored(&only.to_string()), only, "{scope}");
        }
        assert!(Scopes::stored("everything:ever").is_empty());
        assert!(Scopes::parse(["everything:ever"]).is_err());
    }
}
