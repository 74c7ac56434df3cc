//! From texts to a [`Config`], or to every problem at once.

use toml::Spanned;
use toml::de::DeTable;

use super::neighbor::{self, NeighborRead};
use super::report::{At, Fault, Report};
use super::router;
use super::rules;
use super::service::{self, Around};
use super::tree::{self, Keys, Table};
use super::{Config, Loaded, Source};

const ROOT: Keys = Keys {
    shared: &[], now: &["router", "neighbor-defaults", "neighbors", "services", "drain", "metrics"],
    later: &["stop", "guard", "pmtud"],
};

/// Tables that hold tables by name, which may come from several files.
const NAMED: [&str; 2] = ["neighbors", "services"];

/// `sources`: the main file, then `conf.d/*.toml` in name order. Looks at nothing but the texts.
pub fn load(sources: &[Source]) -> Result<Loaded, Report> {
    let mut report = Report::new(sources);
    let mut files: Vec<Spanned<DeTable<'_>>> = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        files.push(table);
        for error in errors {
            let at = At::new(file, error.span().unwrap_or(0..0));
            report.push(Fault::new(format!("not TOML: {}", error.message()), "").at(&at).syntax());
        }
    }
    let root = tree::merge(&files, &NAMED, &mut report);
    let config = read(&root, sources, &mut report);
    report.finish();
    match config {
        Some(config) if !report.has_errors() => Ok(Loaded { config, warnings: report }),
        Some(_) | None => Err(report),
    }
}

/// `None` only where a problem was reported.
fn read(root: &Table<'_>, sources: &[Source], report: &mut Report) -> Option<Config> {
    root.check(&ROOT, &[], report);
    let router = router::router(root, report);
    let neighbors = neighbor::neighbors(root, report);
    let names: Vec<String> = neighbors.iter().map(|read| read.name.clone()).collect();
    let bandwidth = router.router.as_ref().and_then(|router| router.bandwidth);
    let around = Around { bandwidth, neighbors: &names };
    let services = service::services(root, &around, report);
    let withdraw_settle = router::withdraw_settle(root, report);
    let metrics = router::metrics(root, report);
    if neighbors.is_empty() {
        let fault = Fault::new("there is no neighbor", "");
        report.push(fault.help("at least: [neighbors.tor-a] with address and asn").at(&root.at).missing());
    }
    if services.is_empty() {
        let fault = Fault::new("there is no service: nothing will be announced", "");
        report.push(fault.at(&root.at).missing().warning());
    }
    rules::apply(&rules::Read { router: &router, neighbors: &neighbors, services: &services }, report);
    let config = Config {
        path: sources.first()?.path.clone(),
        hash: hash(sources),
        router: router.router?,
        neighbors: neighbors.into_iter().map(|read: NeighborRead| read.neighbor).collect::<Option<_>>()?,
        services: services.into_iter().map(|read| read.service).collect(),
        withdraw_settle,
        metrics,
    };
    Some(config)
}

/// FNV-1a, 64 bits.
fn hash(sources: &[Source]) -> u64 {
    let bytes = sources.iter().flat_map(|source| source.text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
