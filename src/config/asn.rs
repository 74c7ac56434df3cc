//! What follows from a neighbor's and the router's AS numbers.

use super::{Neighbor, PeerAsn};
use crate::bgp::wire::Asn;

impl Neighbor {
    /// The AS we speak as to this neighbor.
    pub fn spoken_asn(&self, router: Asn) -> Asn {
        self.local_asn.unwrap_or(router)
    }

    /// True where the session is iBGP.
    pub fn is_internal(&self, router: Asn) -> bool {
        match self.asn {
            PeerAsn::Is(asn) => asn == self.spoken_asn(router),
            PeerAsn::External => false,
            PeerAsn::Internal => true,
        }
    }
}
