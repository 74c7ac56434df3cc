//! `/metrics`: the same view as `/status`, as OpenMetrics text.
//!
//! Nothing is kept between two scrapes: the engine hands over a [`Snapshot`], and the text is a pure function of it.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use super::{Counters, Histogram, Messages, Reason, Service, Status, rfc3339};

mod pmtud;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub status: Status,
    pub counters: Counters,
    /// `metrics.max-prefixes`: with more than this, a series per prefix becomes a count per service.
    pub max_prefixes: usize,
}

pub fn render(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => text,
        // Only a writer can fail, and a String does not. A scrape without its end is refused by every reader.
        Err(fmt::Error) => String::new(),
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One line of a gauge or counter.
type Sample<'a> = (Labels<'a>, u64);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let families = &mut Families(&mut encoder);
        self.sessions(families)?;
        self.services(families)?;
        self.prefixes(families)?;
        self.checks(families)?;
        self.hooks(families)?;
        self.pmtud(families)?;
        self.daemon(families)
    }
}

impl Snapshot {
    fn sessions(&self, families: &mut Families) -> fmt::Result {
        let neighbors = &self.status.neighbors;
        families.gauge(
            "anycaster_bgp_session_up",
            "1 where the session is Established; a disabled neighbor has no line",
            neighbors.iter().filter(|neighbor| neighbor.enabled).map(|neighbor| {
                let up = u64::from(neighbor.state == "Established");
                (vec![("neighbor", neighbor.name.as_str())], up)
            }),
        )?;
        families.counter(
            "anycaster_bgp_session_flaps",
            "Times an Established session ended",
            neighbors.iter().map(|neighbor| (vec![("neighbor", neighbor.name.as_str())], neighbor.flaps)),
        )?;
        families.counter(
            "anycaster_bgp_messages",
            "BGP messages by type and direction",
            self.counters.neighbors.iter().flat_map(|neighbor| {
                let sent = messages(&neighbor.name, "sent", neighbor.sent);
                sent.into_iter().chain(messages(&neighbor.name, "received", neighbor.received))
            }),
        )?;
        families.gauge(
            "anycaster_bgp_announced_prefixes",
            "Prefixes the neighbor has been told",
            neighbors.iter().flat_map(|neighbor| {
                [("ipv4", neighbor.announced.ipv4), ("ipv6", neighbor.announced.ipv6)]
                    .map(|(family, count)| (vec![("neighbor", neighbor.name.as_str()), ("family", family)], count))
            }),
        )
    }

    fn services(&self, families: &mut Families) -> fmt::Result {
        let services = &self.status.services;
        families.gauge(
            "anycaster_service_up",
            "1 where the service is in state up: all of its prefixes are announced",
            services.iter().map(|service| (vec![("service", service.name.as_str())], u64::from(service.state == "up"))),
        )?;
        families.gauge(
            "anycaster_service_weight",
            "0 to 100 of the bandwidth; 0 is drained",
            services.iter().map(|service| (vec![("service", service.name.as_str())], u64::from(service.weight))),
        )
    }

    fn prefixes(&self, families: &mut Families) -> fmt::Result {
        let services = &self.status.services;
        let prefixes: usize = services.iter().map(|service| service.prefixes.len()).sum();
        let too_many = prefixes > self.max_prefixes;
        families.gauge(
            "anycaster_prefix_announced",
            "1 where the neighbor has been told the prefix; without the label prefix: how many",
            bounded(too_many, services.iter().flat_map(announced).collect()),
        )?;
        families.gauge(
            "anycaster_prefix_held",
            "1 where the prefix is not announced, and why; without the label prefix: how many",
            bounded(too_many, reasons(services, |prefix| prefix.held.as_ref())),
        )?;
        families.gauge(
            "anycaster_prefix_kept",
            "1 where the prefix is announced although something is wrong, and what; without the label prefix: how many",
            bounded(too_many, reasons(services, |prefix| prefix.kept.as_ref())),
        )
    }

    fn checks(&self, families: &mut Families) -> fmt::Result {
        let addresses: Vec<(&str, &super::Check, String)> = (self.status.services.iter())
            .flat_map(|service| service.checks.iter().map(|check| (service.name.as_str(), check)))
            .map(|(service, check)| (service, check, check.address.to_string()))
            .collect();
        families.gauge(
            "anycaster_check_up",
            "1 up, 0 down, on one address; no line before the first verdict",
            addresses.iter().filter(|(_, check, _)| check.state != "unknown").map(|(service, check, address)| {
                let labels = vec![("service", *service), ("check", check.name.as_str()), ("address", address.as_str())];
                (labels, u64::from(check.state == "up"))
            }),
        )?;
        let checks = &self.counters.checks;
        families.histogram(
            "anycaster_check_duration_seconds",
            "How long a check took, timeouts included",
            checks.iter().map(|check| {
                (vec![("service", check.service.as_str()), ("check", check.check.as_str())], &check.durations)
            }),
        )?;
        families.counter(
            "anycaster_check_timeouts",
            "Checks that had no result when their timeout came",
            checks.iter().map(|check| {
                (vec![("service", check.service.as_str()), ("check", check.check.as_str())], check.timeouts)
            }),
        )
    }

    fn hooks(&self, families: &mut Families) -> fmt::Result {
        families.counter(
            "anycaster_hook_failures",
            "Runs of a hook that failed, could not be started or were killed at their timeout",
            self.counters
                .hooks
                .iter()
                .map(|hook| (vec![("service", hook.service.as_str()), ("hook", hook.hook.as_str())], hook.failures)),
        )
    }

    fn daemon(&self, families: &mut Families) -> fmt::Result {
        let (status, counters) = (&self.status, &self.counters);
        families.histogram(
            "anycaster_announce_latency_seconds",
            "From the event that allowed a route to its bytes being written",
            [(vec![], &counters.announce_latency)],
        )?;
        families.histogram(
            "anycaster_withdraw_latency_seconds",
            "From the event that forbade a route to its bytes being written",
            [(vec![], &counters.withdraw_latency)],
        )?;
        families.counter(
            "anycaster_send_errors",
            "What could not be sent, by where",
            counters.send_errors.iter().map(|(place, n)| (vec![("where", place.as_str())], *n)),
        )?;
        families.counter(
            "anycaster_netlink_resyncs",
            "Whole reads of addresses and routes because events were lost",
            [(vec![], counters.netlink_resyncs)],
        )?;
        families.gauge(
            "anycaster_config_last_reload_successful",
            "1 where the configuration that runs is the one in the file when it was last read",
            [(vec![], u64::from(status.config.state == "current"))],
        )?;
        families.seconds(
            "anycaster_config_last_reload_success_timestamp_seconds",
            "When the configuration that runs was read, since 1970",
            rfc3339::parse(&status.config.loaded_at).unwrap_or_default().as_secs_f64(),
        )?;
        families.gauge(
            "anycaster_config_hash",
            "The configuration's hash, its lower 48 bits: a sample is a float and holds no more",
            [(vec![], u64::from_str_radix(&status.config.hash, 16).unwrap_or(0) & ((1 << 48) - 1))],
        )?;
        families.seconds(
            // The name every dashboard knows; it alone has no prefix.
            "process_start_time_seconds",
            "When this process started, since 1970",
            counters.started_at,
        )?;
        let version = vec![("version", status.version.as_str())];
        families.info("anycaster_build", "What runs", &version)
    }
}

fn messages<'a>(neighbor: &'a str, direction: &'static str, counts: Messages) -> [Sample<'a>; 5] {
    [
        ("open", counts.open),
        ("update", counts.update),
        ("notification", counts.notification),
        ("keepalive", counts.keepalive),
        ("route-refresh", counts.route_refresh),
    ]
    .map(|(kind, count)| (vec![("neighbor", neighbor), ("type", kind), ("direction", direction)], count))
}

fn announced(service: &Service) -> impl Iterator<Item = Sample<'_>> {
    service.prefixes.iter().flat_map(|prefix| {
        prefix.neighbors.iter().map(|neighbor| {
            let labels = vec![
                ("service", service.name.as_str()),
                ("prefix", prefix.prefix.as_str()),
                ("neighbor", neighbor.name.as_str()),
            ];
            (labels, u64::from(neighbor.announced))
        })
    })
}

fn reasons(services: &[Service], reason: impl Fn(&super::Prefix) -> Option<&Reason>) -> Vec<Sample<'_>> {
    let prefixes = (services.iter()).flat_map(|service| service.prefixes.iter().map(move |prefix| (service, prefix)));
    prefixes
        .filter_map(|(service, prefix)| {
            let labels = vec![
                ("service", service.name.as_str()),
                ("prefix", prefix.prefix.as_str()),
                ("reason", reason(prefix)?.reason.as_str()),
            ];
            Some((labels, 1))
        })
        .collect()
}

/// Where there are too many: the sum over the prefixes of a service, in the order of the first of each.
fn bounded(too_many: bool, samples: Vec<Sample<'_>>) -> Vec<Sample<'_>> {
    if !too_many {
        return samples;
    }
    let mut sums: Vec<Sample<'_>> = Vec::new();
    let mut places: BTreeMap<Labels<'_>, usize> = BTreeMap::new();
    for (mut labels, value) in samples {
        labels.retain(|(name, _)| *name != "prefix");
        let place = *places.entry(labels.clone()).or_insert(sums.len());
        match sums.get_mut(place) {
            Some((_, sum)) => *sum += value,
            None => sums.push((labels, value)),
        }
    }
    sums
}

/// The three shapes of a family, each written once.
struct Families<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Families<'_, '_> {
    fn gauge<'s>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'s>>) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples, |mut line, value| line.encode_gauge(&value))
    }

    /// `name` without "_total", which the encoder adds.
    fn counter<'s>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'s>>) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples, |mut line, value| {
            line.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
        })
    }

    fn histogram<'s>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'s>, &'s Histogram)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, samples, |mut line, value| {
            let (sum, count) = (value.sum().as_secs_f64(), value.count());
            line.encode_histogram::<NoLabelSet>(sum, count, &value.buckets(), None)
        })
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn info(&mut self, name: &str, help: &str, labels: &Labels<'_>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn family<'s, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels<'s>, V)>,
        line: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                // An empty set would print "{}", which some readers refuse.
                return line(family, value);
            }
            line(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
