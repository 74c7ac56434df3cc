//! From texts to a [`Config`], or to every problem at once.

use toml::Spanned;
use toml::de::DeTable;

use super::neighbor::{self, NeighborRead};
use super::pmtud;
use super::report::{Fault, Report};
use super::router;
use super::rules;
use super::service::{self, Around};
use super::syntax;
use super::tree::{self, Keys, Table};
use super::{Config, Loaded, LoadedPmtud, Source};

const ROOT: Keys = Keys {
    shared: &[],
    now: &["router", "neighbor-defaults", "neighbors", "services", "drain", "metrics", "pmtud"],
    later: &["stop", "guard"],
};

/// Tables that hold tables by name, which may come from several files.
const NAMED: [&str; 2] = ["neighbors", "services"];

/// `sources`: the main file, then `conf.d/*.toml` in name order. Looks at nothing but the texts.
pub fn load(sources: &[Source]) -> Result<Loaded, Report> {
    let read = |files: &[Spanned<DeTable<'_>>], report: &mut Report| {
        let root = tree::merge(files, &NAMED, report);
        read(&root, sources, report)
    };
    parse(sources, read).map(|(config, warnings)| Loaded { config, warnings })
}

/// For a host that announces by other means: `[pmtud]`, whatever else stands in the files.
pub fn load_pmtud(sources: &[Source]) -> Result<LoadedPmtud, Report> {
    let read = |files: &[Spanned<DeTable<'_>>], report: &mut Report| {
        let root = tree::only(files, "pmtud", report);
        if root.get("pmtud").is_none() {
            let fault = Fault::new("[pmtud] is missing", "");
            report.push(fault.help("at least: interfaces, prefixes, address, keys, members").at(&root.at).missing());
        }
        pmtud::pmtud(&root, true, report)?.pmtud
    };
    let (pmtud, warnings) = parse(sources, read)?;
    let path = sources.first().map(|source| source.path.clone()).unwrap_or_default();
    Ok(LoadedPmtud { path, hash: hash(sources), pmtud, warnings })
}

/// What `read` makes of the files, with the warnings; `None` only where it reported a problem.
fn parse<T>(
    sources: &[Source],
    read: impl FnOnce(&[Spanned<DeTable<'_>>], &mut Report) -> Option<T>,
) -> Result<(T, Report), Report> {
    let mut report = Report::new(sources);
    let each = sources.iter().enumerate();
    let texts: Vec<String> = each.map(|(file, source)| syntax::sound(file, &source.text, &mut report)).collect();
    // What was not TOML is reported and blanked; what stands twice is left to the parser, which keeps one of them.
    let files: Vec<Spanned<DeTable<'_>>> = texts.iter().map(|text| DeTable::parse_recoverable(text).0).collect();
    let value = read(&files, &mut report);
    report.finish();
    match value {
        Some(value) if !report.has_errors() => Ok((value, report)),
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
    let pmtud = pmtud::pmtud(root, false, report);
    if neighbors.is_empty() {
        let fault = Fault::new("there is no neighbor", "");
        report.push(fault.help("at least: [neighbors.tor-a] with address and asn").at(&root.at).missing());
    }
    if services.is_empty() {
        let fault = Fault::new("there is no service: nothing will be announced", "");
        report.push(fault.at(&root.at).missing().warning());
    }
    let all = rules::Read { router: &router, neighbors: &neighbors, services: &services, pmtud: pmtud.as_ref() };
    rules::apply(&all, report);
    let config = Config {
        path: sources.first()?.path.clone(),
        hash: hash(sources),
        router: router.router?,
        neighbors: neighbors.into_iter().map(|read: NeighborRead| read.neighbor).collect::<Option<_>>()?,
        services: services.into_iter().map(|read| read.service).collect(),
        withdraw_settle,
        metrics,
        pmtud: match pmtud {
            Some(read) => Some(read.pmtud?),
            None => None,
        },
    };
    Some(config)
}

/// FNV-1a, 64 bits.
fn hash(sources: &[Source]) -> u64 {
    let bytes = sources.iter().flat_map(|source| source.text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::{check, neighbor, pmtud, router, service};
    use super::*;

    /// Vectors of the FNV authors.
    #[test]
    fn the_hash_is_fnv_1a() {
        let of = |text: &str| hash(&[Source { path: "a".into(), text: text.to_owned() }]);
        assert_eq!(of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of("foobar"), 0x8594_4171_f739_67e8);
    }

    /// The reference is what operators copy from: no key may be missing there.
    #[test]
    fn the_reference_has_every_key() {
        let reference = include_str!("../../config/reference.toml");
        let tables = [
            router::ROUTER,
            router::LOG,
            router::METRICS,
            router::DRAIN,
            neighbor::NEIGHBOR,
            service::BINDING,
            service::HEALTH,
            check::TCP,
            check::HTTPS,
            check::EXEC,
            check::FILE,
            check::SYSTEMD,
            check::PUSH,
            pmtud::PMTUD,
            pmtud::MIN_MTU,
            pmtud::LIMITS,
        ];
        let known = tables.iter().flat_map(|keys| keys.shared.iter().chain(keys.now));
        let service = service::SERVICE.now.iter().filter(|key| !["binding", "health", "checks"].contains(key));
        let written = |key: &str| {
            let line = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            reference.lines().any(line) || reference.contains(&format!(" {key} = "))
        };
        let missing: Vec<_> = known.chain(service).filter(|key| !written(key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for name in ROOT.now {
            assert!(reference.lines().any(|l| l.starts_with(&format!("[{name}"))), "{name}");
        }
    }
}
