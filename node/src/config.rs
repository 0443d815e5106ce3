//! The options of a server: from a TOML file, overridden by the command line.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grapevine_tokio::{Farm, Local};
use subtle::ConstantTimeEq as _;

use crate::cli::ServeArgs;

mod file;

use file::File;

/// Everything that one server is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// The server's number.
    pub(crate) id: u16,
    /// Where other servers reach it.
    pub(crate) listen: SocketAddr,
    /// Where customers reach it.
    pub(crate) http: SocketAddr,
    /// Where the others listen.
    pub(crate) peers: Peers,
    /// The key of links and tokens; `None` for the public loopback key.
    pub(crate) farm_key: Option<SecretKey>,
    /// What the application shows to say whose a session is; `None` if everybody may.
    pub(crate) application_key: Option<SecretKey>,
    /// What the farm agrees on.
    pub(crate) farm: Farm,
    /// What this server chooses.
    pub(crate) local: Local,
    /// The limits of the HTTP interface.
    pub(crate) limits: HttpLimits,
    /// The cookie that carries the token.
    pub(crate) cookie: String,
    /// The cookie that carries the context, if it is not to travel in the token.
    pub(crate) context_cookie: Option<String>,
    /// The other servers' addresses for customers, for the page's links.
    pub(crate) sites: Vec<String>,
    /// What to log.
    pub(crate) log: String,
}

/// How a server knows where the others are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Peers {
    /// A list of `host:port`.
    Listed(Vec<String>),
    /// A DNS name with the addresses of all servers.
    Dns {
        /// `name:port`
        name: String,
        /// How many servers the farm has.
        size: u16,
    },
}

/// A secret. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct SecretKey(pub(crate) [u8; 32]);

impl SecretKey {
    /// A key as 64 hexadecimal digits.
    fn of_digits(digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: u8| char::from(at).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).unwrap_or_default();
        }
        Some(Self(key))
    }

    /// Whether these digits are it. How long that takes says nothing of the key.
    pub(crate) fn is(&self, digits: &str) -> bool {
        Self::of_digits(digits).is_some_and(|shown| shown == *self)
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret key)")
    }
}

/// The limits of the HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpLimits {
    /// The largest body of a request.
    pub(crate) body_bytes: usize,
    /// How long the whole body may take to come.
    pub(crate) body_timeout: Duration,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub(crate) header_timeout: Duration,
    /// Connections at once; more wait until one ends.
    pub(crate) connections: usize,
    /// How long running requests may take to finish when the server stops.
    pub(crate) drain_timeout: Duration,
    /// The bytes of expired sessions that are kept for `GET /expirations`.
    pub(crate) expirations_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 256 << 10,
            body_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            connections: 1024,
            drain_timeout: Duration::from_secs(5),
            expirations_bytes: 4 << 20,
        }
    }
}

/// Why the options don't do. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {} can't be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file is not what it must be; the source names line, field, value and what is allowed.
    #[error("the configuration file {} is not right: {source}", path.display())]
    Wrong { path: PathBuf, source: Box<toml::de::Error> },
    /// A field that must be given is not.
    #[error("configuration: `{field}` is missing; give it in the file or as --{field}")]
    Missing { field: &'static str },
    /// A field's value does not fit.
    #[error("configuration: {field} = {value} is not allowed; {allowed}")]
    Field { field: String, value: String, allowed: String },
    /// The farm's and the engine's own rules.
    #[error(transparent)]
    Rule(#[from] grapevine_tokio::ConfigError),
}

fn refuse(
    field: impl Into<String>,
    value: impl fmt::Display,
    allowed: impl Into<String>,
) -> ConfigError {
    ConfigError::Field { field: field.into(), value: value.to_string(), allowed: allowed.into() }
}

/// The options of `serve`: those of the file, overridden by the command line's, checked.
///
/// # Errors
/// [`ConfigError`] names the first field that does not fit, its value, and what is allowed.
pub(crate) fn load(args: ServeArgs) -> Result<Options, ConfigError> {
    let file = match &args.config {
        Some(path) => read(path)?,
        None => File::default(),
    };
    let environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let options = combine(file, args, environment)?;
    check(&options)?;
    Ok(options)
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Wrong { path: path.into(), source: Box::new(source) })
}

fn combine(
    file: File,
    args: ServeArgs,
    environment: Option<String>,
) -> Result<Options, ConfigError> {
    let missing = |field| ConfigError::Missing { field };
    let peers = match (args.peers.is_empty(), file.peers_from_dns) {
        (true, Some(dns)) if file.peers.is_empty() => Peers::Dns { name: dns.name, size: dns.size },
        (true, Some(_)) => {
            return Err(refuse("peers_from_dns", "(given)", "give either it or `peers`"));
        }
        (true, None) => Peers::Listed(file.peers),
        (false, _) => Peers::Listed(args.peers),
    };
    let size = match &peers {
        Peers::Listed(list) => u16::try_from(list.len() + 1).unwrap_or(u16::MAX),
        Peers::Dns { size, .. } => *size,
    };
    let mut farm = Farm { size, ..Farm::default() };
    file.farm.lay_over_farm(&mut farm);
    let mut local = Local::default();
    file.local.lay_over(&mut local);
    let mut limits = HttpLimits::default();
    file.http_limits.lay_over(&mut limits);
    Ok(Options {
        id: args.id.or(file.id).ok_or_else(|| missing("id"))?,
        listen: args.listen.or(file.listen).ok_or_else(|| missing("listen"))?,
        http: args.http.or(file.http).ok_or_else(|| missing("http"))?,
        peers,
        farm_key: read_key("farm_key_file", file.farm_key_file.as_deref())?,
        application_key: read_key("application_key_file", file.application_key_file.as_deref())?,
        farm,
        local,
        limits,
        cookie: args.cookie.or(file.cookie).unwrap_or_else(|| "grapevine".into()),
        context_cookie: args.context_cookie.or(file.context_cookie),
        sites: if args.sites.is_empty() { file.sites } else { args.sites },
        log: args.log.or(environment).or(file.log).unwrap_or_else(|| "info".into()),
    })
}

fn read_key(field: &'static str, path: Option<&Path>) -> Result<Option<SecretKey>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    // What the file holds is a secret, even when it is not right.
    let key = SecretKey::of_digits(text.trim())
        .ok_or_else(|| refuse(field, path.display(), "it must hold 64 hexadecimal digits"))?;
    Ok(Some(key))
}

fn check(options: &Options) -> Result<(), ConfigError> {
    if options.id == 0 {
        return Err(refuse("id", 0, "it must be from 1 to 65535"));
    }
    loopback("listen", options.listen)?;
    loopback("http", options.http)?;
    if options.listen == options.http && options.listen.port() != 0 {
        return Err(refuse("http", options.http, "it must differ from `listen`"));
    }
    check_peers(options)?;
    if options.application_key.is_some() && options.application_key == options.farm_key {
        let allowed = "it must differ from the farm's key, with which tokens could be forged";
        return Err(refuse("application_key_file", "(given)", allowed));
    }
    options.farm.validate()?;
    check_local(&options.local)?;
    check_limits(&options.limits)?;
    check_cookie("cookie", &options.cookie)?;
    if let Some(name) = &options.context_cookie {
        check_cookie("context_cookie", name)?;
        if *name == options.cookie {
            let allowed = "it must differ from `cookie`";
            return Err(refuse("context_cookie", format!("{name:?}"), allowed));
        }
    }
    for site in &options.sites {
        check_site(site)?;
    }
    Ok(())
}

/// What is said about every address that is not a loopback one.
pub(crate) const WHY_LOOPBACK: &str = "it must be a loopback address (127.0.0.0/8 or ::1), because the links between servers are not \
     encrypted yet";

fn loopback(field: &str, address: SocketAddr) -> Result<(), ConfigError> {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_canonical(),
        v4 => v4,
    };
    if ip.is_loopback() { Ok(()) } else { Err(refuse(field, address, WHY_LOOPBACK)) }
}

fn check_peers(options: &Options) -> Result<(), ConfigError> {
    let names = match &options.peers {
        Peers::Listed(list) => list.as_slice(),
        Peers::Dns { name, .. } => std::slice::from_ref(name),
    };
    let mut known = BTreeSet::new();
    for name in names {
        let port = name.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().map_or(true, |port| port == 0)) {
            let allowed = "it must be host:port, such as 127.0.0.1:7402";
            return Err(refuse("peer", name, allowed));
        }
        if let Ok(address) = name.parse::<SocketAddr>() {
            loopback("peer", address)?;
            if address == options.listen {
                return Err(refuse("peer", name, "it must not be this server's own `listen`"));
            }
        }
        if !known.insert(name) {
            return Err(refuse("peer", name, "each peer must be given once"));
        }
    }
    if let Peers::Listed(list) = &options.peers
        && usize::from(options.farm.size) < list.len() + 1
    {
        let allowed = format!("it must be at least {}, the peers and this server", list.len() + 1);
        return Err(refuse("farm.size", options.farm.size, allowed));
    }
    Ok(())
}

/// What a program that embeds a server may mean, and a file hardly: that nothing ever waits.
fn check_local(local: &Local) -> Result<(), ConfigError> {
    let times = [("query_timeout", local.query_timeout), ("ack_timeout", local.ack_timeout)];
    for (field, time) in times {
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&time) {
            let value = humantime::format_duration(time);
            return Err(refuse(format!("local.{field}"), value, "it must be from 1ms to 1m"));
        }
    }
    if local.pending_requests == 0 {
        return Err(refuse("local.pending_requests", 0, "it must be at least 1"));
    }
    Ok(())
}

fn check_limits(limits: &HttpLimits) -> Result<(), ConfigError> {
    if !(1024..=16 << 20).contains(&limits.body_bytes) {
        let allowed = "it must be from 1024 to 16777216";
        return Err(refuse("http_limits.body_bytes", limits.body_bytes, allowed));
    }
    if !(1..=65_536).contains(&limits.connections) {
        let allowed = "it must be from 1 to 65536";
        return Err(refuse("http_limits.connections", limits.connections, allowed));
    }
    if !(1024..=1 << 30).contains(&limits.expirations_bytes) {
        let allowed = "it must be from 1024 to 1073741824";
        return Err(refuse("http_limits.expirations_bytes", limits.expirations_bytes, allowed));
    }
    let times = [
        ("http_limits.body_timeout", limits.body_timeout),
        ("http_limits.header_timeout", limits.header_timeout),
        ("http_limits.drain_timeout", limits.drain_timeout),
    ];
    for (field, time) in times {
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&time) {
            let value = humantime::format_duration(time);
            return Err(refuse(field, value, "it must be from 100ms to 10m"));
        }
    }
    Ok(())
}

fn check_cookie(field: &str, name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    let allowed = "it must have 1 to 64 characters, each a letter, a digit, `-` or `_`";
    Err(refuse(field, format!("{name:?}"), allowed))
}

fn check_site(site: &str) -> Result<(), ConfigError> {
    let rest = site.strip_prefix("http://").or_else(|| site.strip_prefix("https://"));
    let fits = |c: char| c.is_ascii_graphic() && !"\"'<>\\`{}".contains(c);
    if rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(fits)) {
        return Ok(());
    }
    let allowed = "it must be a URL that begins with http:// or https://";
    Err(refuse("site", format!("{site:?}"), allowed))
}

#[cfg(test)]
mod tests;
