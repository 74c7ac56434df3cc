//! What the OPENs of both sides mean for the messages after them, and what is assumed where the capture has none.

use crate::bgp::wire::{Codec, MAX_EXTENDED_MESSAGE, MAX_MESSAGE};

/// What one side's OPEN said, as far as later messages depend on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::decode) struct Offer {
    pub(in crate::decode) asn: u32,
    pub(in crate::decode) four_octets: bool,
    pub(in crate::decode) extended_message: bool,
    pub(in crate::decode) extended_next_hop: bool,
    pub(in crate::decode) filters: bool,
    /// AFI, SAFI, and 1 receive, 2 send, 3 both (RFC 7911 §4).
    pub(in crate::decode) paths: Vec<(u16, u8, u8)>,
}

/// Both directions of one connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::decode) struct Session {
    offers: [Option<Offer>; 2],
}

/// How messages of one direction are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::decode) struct View {
    /// RFC 6793. `None`: not known, so the message itself must tell.
    pub(in crate::decode) four_octets: Option<bool>,
    pub(in crate::decode) internal: Option<bool>,
    pub(in crate::decode) extended_next_hop: Option<bool>,
    /// RFC 5291: filters may follow a route refresh; true where it is not known.
    pub(in crate::decode) filters: bool,
    /// RFC 7911: families whose prefixes have path identifiers. `None`: not known.
    pub(in crate::decode) paths: Option<Vec<(u16, u8)>>,
    /// Where it is not known: what to try first.
    pub(in crate::decode) likely_paths: bool,
}

impl Session {
    pub(in crate::decode) fn heard(&mut self, direction: usize, offer: Offer) {
        if let Some(place) = self.offers.get_mut(direction) {
            *place = Some(offer);
        }
    }

    /// The largest message of it. Where one side did not offer more, a larger one is an error; not knowing, we look at it.
    pub(in crate::decode) fn limit(&self) -> usize {
        if self.agreed(|offer| offer.extended_message) == Some(false) { MAX_MESSAGE } else { MAX_EXTENDED_MESSAGE }
    }

    /// Offered by both: known to be false as soon as one OPEN lacks it.
    fn agreed(&self, offered: impl Fn(&Offer) -> bool) -> Option<bool> {
        match &self.offers {
            [Some(one), Some(other)] => Some(offered(one) && offered(other)),
            [Some(one), None] | [None, Some(one)] if !offered(one) => Some(false),
            [Some(_) | None, None] | [None, Some(_)] => None,
        }
    }

    pub(in crate::decode) fn view(&self, direction: usize) -> View {
        let [one, other] = &self.offers;
        let (sender, receiver) = if direction == 0 { (one, other) } else { (other, one) };
        let both = sender.as_ref().zip(receiver.as_ref());
        let paths = both.map(|(sender, receiver)| {
            let takes =
                |afi, safi| receiver.paths.iter().any(|path| matches!(path, (a, s, 1 | 3) if (*a, *s) == (afi, safi)));
            let sends = sender.paths.iter().filter(|(_, _, mode)| matches!(mode, 2 | 3));
            sends.map(|(afi, safi, _)| (*afi, *safi)).filter(|(afi, safi)| takes(*afi, *safi)).collect()
        });
        let none = [sender, receiver].into_iter().flatten().any(|offer| offer.paths.is_empty());
        View {
            four_octets: self.agreed(|offer| offer.four_octets),
            internal: both.map(|(sender, receiver)| sender.asn == receiver.asn),
            extended_next_hop: self.agreed(|offer| offer.extended_next_hop),
            filters: self.agreed(|offer| offer.filters) != Some(false),
            paths: paths.or_else(|| none.then(Vec::new)),
            likely_paths: false,
        }
    }
}

impl View {
    /// For the strict decoder; what is not known is taken as what allows most.
    pub(in crate::decode) fn codec(&self, four_octet_asn: bool) -> Codec {
        Codec {
            four_octet_asn,
            extended_message: true,
            extended_next_hop: self.extended_next_hop.unwrap_or(true),
            internal: self.internal.unwrap_or(true),
        }
    }

    /// Whether prefixes of a family have path identifiers; `None`: not known.
    pub(in crate::decode) fn has_paths(&self, afi: u16, safi: u8) -> Option<bool> {
        self.paths.as_ref().map(|families| families.contains(&(afi, safi)))
    }
}
