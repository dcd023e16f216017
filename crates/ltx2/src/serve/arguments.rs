//! The settings of `ltx2 serve`, in groups.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ltx2_server::{AllowedNetworks, ApiKeys, BodyLimits, ConnectionLimits, CorsOrigins, Fetcher, Secret, WebhookRules};
use ltx2_store::Retention;
use ltx2_types::ImageLimits;
use ltx2_types::Limits;

/// What one request may ask for, and how many may.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Most tasks that wait; further ones are answered with 503.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_queue: u32,
    /// Largest body of a request, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_body: u32,
    /// Largest picture, millions of pixels; known before it is decoded.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=268))]
    max_image: u32,
    /// Longest prompt, characters.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_prompt: u32,
    /// Largest width and height.
    #[arg(long, value_name = "PIXELS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(64..=4096))]
    max_size: u32,
    /// Most frames.
    #[arg(long, value_name = "N", default_value_t = 1441, value_parser = clap::value_parser!(u32).range(1..=1441))]
    max_frames: u32,
    /// Most denoising steps.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=200))]
    max_steps: u32,
    /// Most memory that a request may take by the estimate of `ltx2 plan`, GiB [default: not checked].
    #[arg(long, value_name = "GIB", value_parser = positive)]
    max_memory: Option<f64>,
}

impl LimitArguments {
    pub fn max_waiting(&self) -> u32 {
        self.max_queue
    }

    pub fn request(&self) -> Limits {
        Limits {
            max_size: self.max_size,
            max_frames: self.max_frames,
            max_steps: self.max_steps,
            max_prompt: self.max_prompt as usize,
            ..Limits::server()
        }
    }

    pub fn image(&self) -> ImageLimits {
        ImageLimits { max_pixels: u64::from(self.max_image) * 1_000_000, ..ImageLimits::default() }
    }

    pub fn max_body(&self) -> usize {
        (self.max_body as usize) << 20
    }

    /// Bytes.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory.map(gib)
    }
}

/// What clients may cost that do not get on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArguments {
    /// Seconds for the head of a request, and for beginning with one.
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = positive)]
    head_timeout: f64,
    /// Seconds for the body of a request.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive)]
    body_timeout: f64,
    /// Seconds that a client may go without taking any of its answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    write_timeout: f64,
    /// Connections at a time; further ones wait. The system's limit of open files may make it fewer.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
}

/// Files that the server needs beside its connections: database, weights, results.
const OTHER_FILES: u64 = 256;

impl ConnectionArguments {
    pub fn body(&self, max_bytes: usize) -> BodyLimits {
        BodyLimits { max_bytes, timeout: Duration::from_secs_f64(self.body_timeout) }
    }

    /// Raises the system's limit of open files as far as it goes, and stays below it.
    pub fn connections(&self) -> ConnectionLimits {
        let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "the limit of open files is unknown: {error}");
            1024
        });
        let possible = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
        ConnectionLimits {
            head_timeout: Duration::from_secs_f64(self.head_timeout),
            write_timeout: Duration::from_secs_f64(self.write_timeout),
            most: (self.max_connections as usize).min(possible),
        }
    }
}

/// Who may use the server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArguments {
    /// A key that lets clients in; can be given several times. Better in the file or the environment, where other users
    /// of this machine do not see it [default: everybody is let in].
    #[arg(long = "api-key", value_name = "KEY", env = "LTX2_API_KEYS", value_delimiter = ',', hide_env_values = true)]
    api_keys: Vec<String>,
    /// File with further keys, one in a line.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Origin of web pages that may use the server, as http://host:3000, or *; can be given several times.
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
}

impl AccessArguments {
    pub fn api_keys(&self) -> anyhow::Result<ApiKeys> {
        let text = match &self.api_key_file {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => String::new(),
        };
        let keys = self.api_keys.iter().map(String::as_str).chain(text.lines());
        Ok(ApiKeys::new(keys.map(str::trim).filter(|key| !key.is_empty())))
    }

    pub fn cors(&self) -> anyhow::Result<CorsOrigins> {
        Ok(CorsOrigins::parse(&self.cors_origins)?)
    }
}

/// Whom the server may call at the end of a task.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookArguments {
    /// What calls are signed with: whsec_ and 24 to 64 bytes in base64 [default: webhooks are refused].
    #[arg(long, value_name = "SECRET", env = "LTX2_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Private network that may be called, as 192.168.0.0/16; can be given several times.
    #[arg(long = "webhook-allow", value_name = "NETWORK")]
    allowed: Vec<ipnet::IpNet>,
}

impl WebhookArguments {
    pub fn rules(&self) -> anyhow::Result<Option<WebhookRules>> {
        let Some(secret) = &self.webhook_secret else { return Ok(None) };
        Ok(Some(WebhookRules { secret: Secret::parse(secret)?, allowed: AllowedNetworks(self.allowed.clone()) }))
    }
}

/// Whom the server may fetch pictures from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Pictures by URL")]
pub struct FetchArguments {
    /// Private network that pictures may be fetched from, as 192.168.0.0/16; can be given several times.
    #[arg(long = "fetch-allow", value_name = "NETWORK")]
    fetch_allowed: Vec<ipnet::IpNet>,
    /// Fetch nothing: pictures come with the request or not at all.
    #[arg(long)]
    no_fetch: bool,
}

impl FetchArguments {
    pub fn fetcher(&self, max_bytes: usize) -> anyhow::Result<Option<Fetcher>> {
        if self.no_fetch {
            return Ok(None);
        }
        Ok(Some(Fetcher::new(AllowedNetworks(self.fetch_allowed.clone()), max_bytes)?))
    }
}

/// What is kept of tasks that have ended.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArguments {
    /// Days after which an ended task is removed with its files [default: kept].
    #[arg(long, value_name = "DAYS", value_parser = positive)]
    keep_days: Option<f64>,
    /// GiB of results beyond which the oldest are removed [default: kept].
    #[arg(long, value_name = "GIB", value_parser = positive)]
    keep_size: Option<f64>,
}

impl RetentionArguments {
    pub fn retention(&self) -> Retention {
        let max_age = self.keep_days.map(|days| Duration::from_secs_f64(days * 86_400.0));
        Retention { max_age, max_bytes: self.keep_size.map(gib) }
    }
}

fn gib(count: f64) -> u64 {
    (count * f64::from(1 << 30)) as u64
}

/// Up to a million, so that no unit overflows.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if number > 0.0 && number <= 1e6 { Ok(number) } else { Err(format!("{text} is not between 0 and 1000000")) }
}
