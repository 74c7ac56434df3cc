//! Communities that have a name.

use super::Community;

/// IANA's well-known communities, by the names in use.
const WELL_KNOWN: [(&str, Community); 9] = [
    ("no-export", Community(0xFFFF_FF01)),
    ("no-advertise", Community(0xFFFF_FF02)),
    ("no-export-subconfed", Community(0xFFFF_FF03)),
    ("no-peer", Community(0xFFFF_FF04)),
    ("graceful-shutdown", Community::GRACEFUL_SHUTDOWN),
    ("accept-own", Community(0xFFFF_0001)),
    ("llgr-stale", Community(0xFFFF_0006)),
    ("no-llgr", Community(0xFFFF_0007)),
    ("blackhole", Community(0xFFFF_029A)),
];

impl Community {
    pub fn well_known_names() -> [&'static str; 9] {
        WELL_KNOWN.map(|(name, _)| name)
    }

    /// The one that has this name.
    pub fn well_known(name: &str) -> Option<Self> {
        WELL_KNOWN.iter().find(|(known, _)| *known == name).map(|(_, community)| *community)
    }

    /// "no-export" and its like.
    pub fn well_known_name(self) -> Option<&'static str> {
        WELL_KNOWN.iter().find(|(_, community)| *community == self).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_one_to_one() {
        for name in Community::well_known_names() {
            assert_eq!(Community::well_known(name).and_then(Community::well_known_name), Some(name));
        }
        assert_eq!(Community::well_known("no-export"), Some(Community(0xFFFF_FF01)));
        assert_eq!(Community::well_known("NO-EXPORT"), None);
        assert_eq!(Community(1).well_known_name(), None);
    }
}
