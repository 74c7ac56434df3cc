//! Communities as people write them.

use std::str::FromStr;

use super::{Community, LargeCommunity};

/// IANA's well-known communities, by the names in use.
const WELL_KNOWN: &[(&str, u32)] = &[
    ("graceful-shutdown", 0xFFFF_0000),
    ("accept-own", 0xFFFF_0001),
    ("llgr-stale", 0xFFFF_0006),
    ("no-llgr", 0xFFFF_0007),
    ("blackhole", 0xFFFF_029A),
    ("no-export", 0xFFFF_FF01),
    ("no-advertise", 0xFFFF_FF02),
    ("no-export-subconfed", 0xFFFF_FF03),
    ("no-peer", 0xFFFF_FF04),
];

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommunityError {
    #[error("{0:?} is not a community: write \"65000:100\", each part 0 to 65535, or a name such as \"no-export\"")]
    Community(String),
    #[error("{given:?} is not a well-known community; known are {}", names())]
    Name { given: String },
    #[error("{0:?} is not a large community: write \"65000:1:2\", each part 0 to 4294967295")]
    Large(String),
}

fn names() -> String {
    WELL_KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Community {
    /// "no-export" and its like.
    pub fn well_known_name(self) -> Option<&'static str> {
        WELL_KNOWN.iter().find(|(_, value)| *value == self.0).map(|(name, _)| *name)
    }
}

/// Digits only: `u32::from_str` would take "+1".
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*value));
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(CommunityError::Name { given: text.to_owned() });
        }
        let parts = text.split_once(':').and_then(|(high, low)| Some((number::<u16>(high)?, number::<u16>(low)?)));
        let (high, low) = parts.ok_or_else(|| CommunityError::Community(text.to_owned()))?;
        Ok(Self(u32::from(high) << 16 | u32::from(low)))
    }
}

impl FromStr for LargeCommunity {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        let mut parts = text.split(':').map(number::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(global)), Some(Some(local1)), Some(Some(local2)), None) => Ok(Self { global, local1, local2 }),
            _ => Err(CommunityError::Large(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_as_people_write_them() {
        let good = [
            ("65000:100", 0xFDE8_0064),
            ("0:0", 0),
            ("65535:65281", 0xFFFF_FF01),
            ("no-export", 0xFFFF_FF01),
            ("no-advertise", 0xFFFF_FF02),
            ("graceful-shutdown", 0xFFFF_0000),
            ("blackhole", 0xFFFF_029A),
        ];
        for (text, value) in good {
            assert_eq!(text.parse(), Ok(Community(value)), "{text}");
        }
        for text in ["", ":", "1", "1:", "65536:1", "1:65536", "1:2:3", "+1:2", " 1:2", "-1:2"] {
            assert_eq!(text.parse::<Community>(), Err(CommunityError::Community(text.to_owned())), "{text}");
        }
        let error = "noexport".parse::<Community>().unwrap_err();
        assert!(error.to_string().starts_with("\"noexport\" is not a well-known community; known are graceful-shutdown, "));
        for (name, value) in WELL_KNOWN {
            assert_eq!(Community(*value).well_known_name(), Some(*name));
        }
    }

    #[test]
    fn large_communities_as_people_write_them() {
        let large = LargeCommunity { global: 4_200_000_000, local1: 0, local2: u32::MAX };
        assert_eq!("4200000000:0:4294967295".parse(), Ok(large));
        assert_eq!(large.to_string().parse(), Ok(large));
        for text in ["", "1:2", "1:2:3:4", "1:2:4294967296", "a:1:2", "1::2", "+1:2:3"] {
            assert_eq!(text.parse::<LargeCommunity>(), Err(CommunityError::Large(text.to_owned())), "{text}");
        }
    }
}
