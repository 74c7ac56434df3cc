//! Host addresses on lo: put there, and taken off.
//!
//! The handle is async, the kernel is not: a request runs within sendmsg(2) and may wait there for the rtnl lock, for as
//! long as somebody else holds it. So this runs on a thread for blocking work, with a small runtime of its own that lasts
//! as long as the batch: batches come at start, at stop, and after a failure.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use nix::libc;
use rtnetlink::{Error, Handle};
use tokio::time::timeout;

/// The kernel answers at once or not at all; this only ends a wait that would never end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The loopback interface has this index in every namespace (LOOPBACK_IFINDEX).
const LO: u32 = 1;

/// Puts host addresses on lo or takes them off; returns those that failed, with the reason.
pub(super) fn manage(wanted: impl IntoIterator<Item = (IpAddr, bool)>) -> Vec<(IpAddr, String)> {
    let wanted = wanted.into_iter();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(all(wanted)),
        Err(error) => wanted.map(|(address, _)| (address, error.to_string())).collect(),
    }
}

async fn all(wanted: impl Iterator<Item = (IpAddr, bool)>) -> Vec<(IpAddr, String)> {
    let handle = match rtnetlink::new_connection() {
        Ok((connection, handle, _)) => {
            // Ends with the handle, or else with the runtime.
            drop(tokio::spawn(connection));
            handle
        }
        Err(error) => return wanted.map(|(address, _)| (address, error.to_string())).collect(),
    };
    let mut failed = Vec::new();
    for (address, present) in wanted {
        let set = timeout(PATIENCE, set(&handle, address, present)).await;
        if let Err(error) = set.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            failed.push((address, error.to_string()));
        }
    }
    failed
}

async fn set(handle: &Handle, address: IpAddr, present: bool) -> io::Result<()> {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let mut add = handle.address().add(LO, address, length);
    let result = if present {
        if address.is_ipv6() {
            // On lo nobody could answer a duplicate address detection, and every member has the address by design.
            add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        add.execute().await
    } else {
        handle.address().del(add.message_mut().clone()).execute().await
    };
    match result {
        Ok(()) => Ok(()),
        Err(Error::NetlinkError(error)) => match error.raw_code().saturating_neg() {
            // The wish is a state, not a step: being there already, or gone already, is success.
            libc::EEXIST if present => Ok(()),
            libc::EADDRNOTAVAIL if !present => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        },
        Err(error) => Err(io::Error::other(error)),
    }
}
