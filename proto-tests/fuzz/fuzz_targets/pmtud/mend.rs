//! Lengths and checksums as they must be, so that mutations need not find out about them.

/// Of an ICMP error of either family; anything else stays what it is.
pub fn mend(packet: &mut [u8]) {
    let Ok(length) = u16::try_from(packet.len()) else { return };
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => {
            let header = usize::from(packet[0] & 15) * 4;
            if header < 20 || packet.len() < header + 4 {
                return;
            }
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            (packet[10], packet[11]) = (0, 0);
            let sum = checksum(&packet[..header]);
            packet[10..12].copy_from_slice(&sum);
            (packet[header + 2], packet[header + 3]) = (0, 0);
            let sum = checksum(&packet[header..]);
            packet[header + 2..header + 4].copy_from_slice(&sum);
        }
        Some(6) if packet.len() > 40 => {
            packet[4..6].copy_from_slice(&(length - 40).to_be_bytes());
            let (mut next, mut place) = (packet[6], 40);
            while next != 58 {
                let Some(&[following, eights]) = packet.get(place..place + 2) else { return };
                place += if next == 44 { 8 } else { 8 + usize::from(eights) * 8 };
                next = following;
            }
            if packet.len() < place + 4 {
                return;
            }
            (packet[place + 2], packet[place + 3]) = (0, 0);
            let upper = (packet.len() - place) as u32;
            let sum = checksum(&[&packet[8..40], &upper.to_be_bytes(), &[0, 0, 0, 58], &packet[place..]].concat());
            packet[place + 2..place + 4].copy_from_slice(&sum);
        }
        Some(_) | None => {}
    }
}

fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum = 0u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
