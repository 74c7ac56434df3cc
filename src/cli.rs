//! The command line: one file per command family.
//!
//! ```text
//!   argv -> Cli -> a question to the daemon's socket -> the types of `status` -> text for a person, or the daemon's JSON
//! ```
//!
//! Exit codes: 0 ok, 1 not all well (or held, or different), 2 error.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::config;
use crate::io::{self, terminal};

mod ask;
pub mod check;
mod completions;
pub mod decode;
mod events;
mod explain;
mod neighbors;
mod paint;
mod pmtud;
mod routes;
mod services;
mod status;
mod table;

const CONFIG: &str = "/etc/anycaster/config.toml";
const SOCKET: &str = "/run/anycaster/control.sock";

/// Parsed by nobody yet: named so that they are not taken for spelling mistakes.
const LATER_COMMANDS: [&str; 10] =
    ["drain", "undrain", "weight", "neighbor", "diff", "reload", "confirm", "rollback", "restart", "import"];
const LATER_OPTIONS: [&str; 3] = ["--shadow", "--vrps", "--watch"];

const WELCOME: &str = "\
anycaster announces this host's anycast prefixes to its routers exactly while the host can serve them.

Start with:
    anycaster check -c config.toml   what would be announced to whom, and every problem of the file with its line
    anycaster run   -c config.toml   the daemon, in the foreground
    anycaster status                 sessions and services of the running daemon; what is not announced, and why

Then `anycaster explain 192.0.2.53` gives the whole chain of one prefix, and `anycaster help` all commands.
";

const DECODE: &str = "\
BGP, BFD and packet-too-big messages of a pcap, pcapng or MRT file, in the order in which they were whole, with times relative to
the first frame. TCP streams are put together; what is missing in them, and what is malformed (marked with !!, with the place and the
NOTIFICATION or RFC 7606 treatment that it calls for), is said.

With --json one object a line. All have frame, at, relative, from, from_port, to, to_port, connection, vlans, type, length, summary and
errors (each with at, what, action, code, subcode, data). What else there is depends on type:
  open            version asn short_asn hold_time id extended_parameters capabilities[code name value]
  update          families end_of_rib withdrawn announced next_hops attributes[code name value]
  notification    code subcode name text data meaning
  route-refresh   family subtype name filters
  keepalive       -
  unknown-bgp     code body
  bfd             state diagnostic diagnostic_name flags multiplier my_discriminator your_discriminator desired_min_tx_us
                  required_min_rx_us required_min_echo_rx_us ttl
  packet-too-big  mtu flow_from flow_to flow_protocol flow_from_port flow_to_port quoted
  rib             prefix family sequence entries[peer address asn path originated attributes]
  peers           collector view peers
  state           old new
  connection      event
  note            -

Exit codes: 0 all well-formed, 1 something malformed in it or the file is cut off, 2 it cannot be read.";

/// Announces a host's anycast prefixes to its routers exactly while the host can serve them.
#[derive(Parser, Debug)]
#[command(name = "anycaster", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// The configuration (run, check, pmtud) [default: /etc/anycaster/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The daemon's control socket [default: /run/anycaster/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// JSON instead of text: the daemon's own; `decode` prints one object for each message
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Be the daemon, in the foreground
    Run {
        /// Never run anything but the configuration file as it is now
        #[arg(long)]
        strict: bool,
    },
    /// Validate the configuration: who owns which prefix, what would go to which neighbor, every problem with its line
    Check,
    /// One screen: neighbors, services, what is held or kept and why (exit code 1: not all well)
    Status,
    /// The routers, their sessions and what they have been told
    Neighbors,
    /// The services, their prefixes and checks
    Services,
    /// Every route as it was told to each neighbor
    Routes,
    /// Why a prefix is announced or not, step by step (exit code 0: announced, 1: held, 2: unknown)
    Explain {
        /// A prefix, an address or the name of a service
        #[arg(value_name = "PREFIX|SERVICE")]
        subject: String,
    },
    /// What changed, oldest first, each with its reason: the last 2048 transitions
    Events {
        /// Go on with what happens from now on, until interrupted or the daemon stops
        #[arg(short, long)]
        follow: bool,

        /// Only what happened within this time: 10m, 1h
        #[arg(long, value_name = "TIME", value_parser = config::duration)]
        since: Option<Duration>,
    },
    /// Only the relay of ICMP errors ([pmtud]), in the foreground, on hosts that announce by other means
    Pmtud,

    /// BGP, BFD and packet-too-big messages of a pcap, pcapng or MRT file (exit code 1: something in it is malformed)
    #[command(long_about = DECODE)]
    Decode {
        /// The capture; - for standard input, as in `tcpdump -U -w - port 179 | anycaster decode -`
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Look for BGP on this TCP port too, besides 179; may be given again
        #[arg(long, value_name = "PORT")]
        port: Vec<u16>,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell they are for
        shell: completions::Shell,
    },
}

/// The whole program; the result is the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.len() < 2 {
        terminal::complain(WELCOME.trim_end());
        return 2;
    }
    match Cli::try_parse_from(arguments) {
        Ok(cli) => match unused(&cli) {
            None => run(cli),
            Some((option, command)) => {
                terminal::complain(&format!("`{command}` has no option {option}"));
                2
            }
        },
        Err(error) => refuse(&error),
    }
}

fn run(cli: Cli) -> u8 {
    let config = cli.config.unwrap_or_else(|| CONFIG.into());
    let explicit = cli.socket.is_some();
    let daemon = ask::Daemon { socket: cli.socket.unwrap_or_else(|| SOCKET.into()), json: cli.json };
    match cli.command {
        // Nothing but the file is ever run yet: with `--strict` and without.
        Command::Run { strict: _ } => io::run(&config),
        Command::Check => check::check(&config, cli.json, terminal::colour() && terminal::error_colour()),
        Command::Status => daemon.show("/status", status::render, status::exit_code),
        Command::Neighbors => daemon.show("/neighbors", |all: &Vec<_>, screen| neighbors::render(all, screen), |_| 0),
        Command::Services => daemon.show("/services", |all: &Vec<_>, screen| services::render(all, screen), |_| 0),
        Command::Routes => daemon.show("/routes", |all: &Vec<_>, screen| routes::render(all, screen), |_| 0),
        Command::Explain { subject } => {
            let path = format!("/explain/{}", ask::encode(&subject));
            daemon.show(&path, explain::render, explain::exit_code)
        }
        Command::Events { follow, since } => events::events(&daemon, since, follow),
        Command::Pmtud => io::pmtud::run(&config, &daemon.socket, explicit),
        Command::Decode { file, port } => {
            let options = decode::Options { ports: port, json: cli.json, colour: terminal::colour() };
            decode::decode(&file, &options)
        }
        Command::Completions { shell } => completions::print(shell, &mut Cli::command()),
    }
}

/// An option that the command would parse and ignore, and the command.
fn unused(cli: &Cli) -> Option<(&'static str, &'static str)> {
    let (name, [config, socket, json]) = match cli.command {
        Command::Run { .. } => ("run", [true, false, false]),
        Command::Check => ("check", [true, false, true]),
        Command::Status => ("status", [false, true, true]),
        Command::Neighbors => ("neighbors", [false, true, true]),
        Command::Services => ("services", [false, true, true]),
        Command::Routes => ("routes", [false, true, true]),
        Command::Explain { .. } => ("explain", [false, true, true]),
        Command::Events { .. } => ("events", [false, true, true]),
        Command::Pmtud => ("pmtud", [true, true, false]),
        Command::Decode { .. } => ("decode", [false, false, true]),
        Command::Completions { .. } => ("completions", [false, false, false]),
    };
    let given = [
        ("-c", cli.config.is_some() && !config),
        ("--socket", cli.socket.is_some() && !socket),
        ("--json", cli.json && !json),
    ];
    given.into_iter().find(|(_, unused)| *unused).map(|(option, _)| (option, name))
}

/// What clap says, but for what is only not there yet.
fn refuse(error: &clap::Error) -> u8 {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(_) | None => "",
    };
    let kind = error.kind();
    let later = if kind == ErrorKind::InvalidSubcommand {
        let name = context(ContextKind::InvalidSubcommand);
        LATER_COMMANDS.contains(&name).then_some(name)
    } else if kind == ErrorKind::UnknownArgument {
        let argument = context(ContextKind::InvalidArg);
        let name = argument.split(['=', ' ']).next().unwrap_or(argument);
        LATER_OPTIONS.contains(&name).then_some(name)
    } else {
        None
    };
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if let Some(name) = later {
        terminal::complain(&format!("`{name}` is not supported yet"));
    } else if error.use_stderr() {
        terminal::complain(error.to_string().trim_end());
    } else {
        terminal::print(error.to_string().as_bytes());
    }
    code
}

#[cfg(test)]
mod tests;
