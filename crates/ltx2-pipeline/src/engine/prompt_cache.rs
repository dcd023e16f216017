//! Cache of prompt contexts.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use candle_core::Device;
use lru::LruCache;
use ltx2_models::text_encoder::Contexts;

use crate::error::Result;
use crate::plan::LoraPlan;

/// Number of cached prompts. Contexts of the 19B model take 12 MB per prompt in bfloat16.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");

/// Contexts of the last used prompts, in host memory. The text encoder is larger than all other
/// networks that a short request loads, so runs with another seed or size of the same prompt skip it.
#[derive(Debug)]
pub(super) struct PromptCache(LruCache<CacheKey, Contexts>);

/// A prompt, and the LoRAs that change its contexts with the bits of their strengths.
type CacheKey = (String, Vec<(PathBuf, u64)>);

impl Default for PromptCache {
    fn default() -> Self {
        Self(LruCache::new(CAPACITY))
    }
}

impl PromptCache {
    /// Returns the contexts of `prompt` with `loras` on `device`, and marks it as the most recent one.
    pub(super) fn get(&mut self, prompt: &str, loras: &[LoraPlan], device: &Device) -> Result<Option<Contexts>> {
        self.0.get(&key(prompt, loras)).map(|contexts| copy(contexts, device)).transpose()
    }

    /// Inserts the contexts of `prompt` with `loras`; a full cache evicts those of the least recently used prompt.
    pub(super) fn insert(&mut self, prompt: &str, loras: &[LoraPlan], contexts: &Contexts) -> Result<()> {
        self.0.put(key(prompt, loras), copy(contexts, &Device::Cpu)?);
        Ok(())
    }
}

fn key(prompt: &str, loras: &[LoraPlan]) -> CacheKey {
    (prompt.into(), loras.iter().map(|lora| (lora.file.clone(), lora.strength.to_bits())).collect())
}

fn copy(contexts: &Contexts, device: &Device) -> Result<Contexts> {
    Ok(Contexts { video: contexts.video.to_device(device)?, audio: contexts.audio.to_device(device)? })
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    fn contexts(value: f64) -> Contexts {
        let context = |width| Tensor::full(value, (1, 2, width), &Device::Cpu).unwrap();
        Contexts { video: context(3), audio: context(2) }
    }

    fn value(contexts: &Contexts) -> f64 {
        contexts.video.mean_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn least_recently_used_prompt_is_evicted() {
        let mut cache = PromptCache::default();
        for number in 0..CAPACITY.get() {
            cache.insert(&number.to_string(), &[], &contexts(number as f64)).unwrap();
        }
        assert_eq!(cache.get("0", &[], &Device::Cpu).unwrap().as_ref().map(value), Some(0.0));
        // 0 was just used, so 1 is the least recently used prompt.
        cache.insert("new", &[], &contexts(-1.0)).unwrap();
        assert!(cache.get("1", &[], &Device::Cpu).unwrap().is_none());
        for (prompt, expected) in [("0", 0.0), ("2", 2.0), ("new", -1.0)] {
            assert_eq!(cache.get(prompt, &[], &Device::Cpu).unwrap().as_ref().map(value), Some(expected), "{prompt}");
        }
        assert_eq!(cache.0.len(), CAPACITY.get());
    }
}
