//! Options of `ltx2 serve`, in groups.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ltx2_server::{AllowedNetworks, ApiKeys, BodyLimits, ConnectionLimits, CorsOrigins, Fetcher, Secret, WebhookRules};
use ltx2_store::Retention;
use ltx2_types::ImageLimits;
use ltx2_types::Limits;

/// Limits of requests and of the queue.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Maximum number of queued tasks; further requests get 503.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_queue: u32,
    /// Maximum size of a request body, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_body: u32,
    /// Maximum size of an image, millions of pixels; checked before decoding.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=268))]
    max_image: u32,
    /// Maximum length of a prompt, characters.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_prompt: u32,
    /// Maximum width and height.
    #[arg(long, value_name = "PIXELS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(64..=4096))]
    max_size: u32,
    /// Maximum number of frames.
    #[arg(long, value_name = "N", default_value_t = 1441, value_parser = clap::value_parser!(u32).range(1..=1441))]
    max_frames: u32,
    /// Maximum number of denoising steps.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=200))]
    max_steps: u32,
    /// Maximum memory of a request by the estimate of `ltx2 plan`, GiB [default: not checked].
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

    /// Returns the memory limit, bytes.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory.map(gib)
    }
}

/// Limits for slow clients.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArguments {
    /// Timeout for request headers and for idle keep-alive connections, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = positive)]
    head_timeout: f64,
    /// Timeout for a request body, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = positive)]
    body_timeout: f64,
    /// Timeout for a client that does not read its response, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    write_timeout: f64,
    /// Maximum number of concurrent connections; further ones wait. The limit on open files may lower it.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
}

/// Open files reserved for the database, weights and results.
const OTHER_FILES: u64 = 256;

impl ConnectionArguments {
    pub fn body(&self, max_bytes: usize) -> BodyLimits {
        BodyLimits { max_bytes, timeout: Duration::from_secs_f64(self.body_timeout) }
    }

    /// Raises the limit on open files as far as possible and returns connection limits below it.
    pub fn connections(&self) -> ConnectionLimits {
        let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the limit on open files: {error}");
            1024
        });
        let possible = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
        ConnectionLimits {
            head_timeout: Duration::from_secs_f64(self.head_timeout),
            write_timeout: Duration::from_secs_f64(self.write_timeout),
            max_connections: (self.max_connections as usize).min(possible),
        }
    }
}

/// Access to the server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArguments {
    /// API key. Can be repeated. Other users of this machine can see the command line: prefer the file or the environment
    /// [default: no key is required].
    #[arg(long = "api-key", value_name = "KEY", env = "LTX2_API_KEYS", value_delimiter = ',', hide_env_values = true)]
    api_keys: Vec<String>,
    /// File with further keys, one per line.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Origin of web pages that may use the server, such as http://host:3000, or *. Can be repeated.
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

/// Webhook calls at the end of a task.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookArguments {
    /// Secret that signs the calls: whsec_ and 24 to 64 bytes in base64 [default: webhooks are refused].
    #[arg(long, value_name = "SECRET", env = "LTX2_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Private network that may be called, such as 192.168.0.0/16. Can be repeated.
    #[arg(long = "webhook-allow", value_name = "NETWORK")]
    allowed: Vec<ipnet::IpNet>,
}

impl WebhookArguments {
    pub fn rules(&self) -> anyhow::Result<Option<WebhookRules>> {
        let Some(secret) = &self.webhook_secret else { return Ok(None) };
        Ok(Some(WebhookRules { secret: Secret::parse(secret)?, allowed: AllowedNetworks(self.allowed.clone()) }))
    }
}

/// Fetching of images by URL.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Images by URL")]
pub struct FetchArguments {
    /// Private network that images may be fetched from, such as 192.168.0.0/16. Can be repeated.
    #[arg(long = "fetch-allow", value_name = "NETWORK")]
    fetch_allowed: Vec<ipnet::IpNet>,
    /// Refuse image URLs.
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

/// Retention of finished tasks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArguments {
    /// Days after which a finished task is deleted with its files [default: kept].
    #[arg(long, value_name = "DAYS", value_parser = positive)]
    keep_days: Option<f64>,
    /// Total size of results, GiB, beyond which the oldest are deleted [default: kept].
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

/// Parses a positive number up to a million, which no unit overflows.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if number > 0.0 && number <= 1e6 { Ok(number) } else { Err(format!("{text} is not between 0 and 1000000")) }
}
