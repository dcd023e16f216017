//! Updates of a weight: matrices of a LoRA file and their product.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};

use super::alpha::HeaderAlpha;
use super::parts::Part;
use crate::weight_files::SafetensorsFile;
use crate::weight_files::reader::ReadTarget;

/// Names in the file of the parts of a layer.
pub(super) type LayerParts = BTreeMap<Part, String>;

/// A product of matrices that is added to a weight.
#[derive(Debug, Clone)]
pub(super) struct Update {
    product: Product,
    scale: Scale,
    /// Shape of the product.
    pub(super) shape: Vec<usize>,
}

/// Tensor names of a product.
#[derive(Debug, Clone)]
enum Product {
    /// `up · down`.
    LowRank { down: String, up: String },
    /// The tensor itself.
    Whole(String),
    /// Kronecker product (LoKr).
    Kronecker([Factor; 2]),
    /// Product of each element of two matrices (LoHa).
    Hadamard([Factor; 2]),
}

/// A matrix, whole or as the product of two.
#[derive(Debug, Clone)]
enum Factor {
    Whole(String),
    Pair(String, String),
}

/// Factor of a product.
#[derive(Debug, Clone)]
enum Scale {
    Constant(f64),
    /// The scalar tensor `alpha` over the rank.
    Alpha {
        alpha: String,
        rank: usize,
    },
}

/// Updates of the weight and of the bias of a layer.
#[derive(Debug, Default)]
pub(super) struct LayerUpdates {
    pub(super) weight: Vec<Update>,
    pub(super) bias: Vec<Update>,
}

/// A factor with its shape and, for a pair, its rank.
struct ShapedFactor {
    factor: Factor,
    shape: [usize; 2],
    rank: Option<usize>,
}

/// A layer of a LoRA file with its name, for errors.
pub(super) struct Layer<'a> {
    pub(super) name: &'a str,
    pub(super) parts: &'a LayerParts,
    pub(super) file: &'a SafetensorsFile,
    pub(super) alpha: &'a HeaderAlpha,
}

impl Layer<'_> {
    /// Returns the updates of the layer.
    ///
    /// # Errors
    /// A message about the first part that is missing, has no counterpart or has the wrong shape.
    pub(super) fn updates(&self) -> std::result::Result<LayerUpdates, String> {
        let mut updates = LayerUpdates::default();
        let whole = |part| self.parts.get(&part).map(|name| self.whole(name)).transpose();
        updates.weight.extend(whole(Part::Diff)?);
        updates.bias.extend(whole(Part::DiffBias)?);
        updates.weight.extend(self.low_rank()?);
        updates.weight.extend(self.kronecker()?);
        updates.weight.extend(self.hadamard()?);
        if updates.weight.is_empty() && updates.bias.is_empty() {
            return Err(format!("{}.alpha belongs to no matrix", self.name));
        }
        Ok(updates)
    }

    fn whole(&self, name: &str) -> std::result::Result<Update, String> {
        let product = Product::Whole(name.into());
        Ok(Update { product, scale: Scale::Constant(1.0), shape: self.shape(name)?.to_vec() })
    }

    fn low_rank(&self) -> std::result::Result<Option<Update>, String> {
        let Some((up, down)) = self.pair(Part::Up, Part::Down)? else { return Ok(None) };
        let (d_out, d_in, rank) = self.pair_shape(&up, &down)?;
        let scale = self.scale(Some(rank))?;
        Ok(Some(Update { product: Product::LowRank { down, up }, scale, shape: vec![d_out, d_in] }))
    }

    fn kronecker(&self) -> std::result::Result<Option<Update>, String> {
        let first = self.factor(Some(Part::LokrW1), Part::LokrW1A, Part::LokrW1B)?;
        let second = self.factor(Some(Part::LokrW2), Part::LokrW2A, Part::LokrW2B)?;
        let (first, second) = match (first, second) {
            (None, None) => return Ok(None),
            (Some(first), Some(second)) => (first, second),
            _ => return Err(format!("{} has one of lokr_w1 and lokr_w2, but not the other", self.name)),
        };
        // Alpha scales decomposed factors only.
        let scale = self.scale(first.rank.or(second.rank))?;
        let shape = first.shape.iter().zip(second.shape).map(|(first, second)| first * second).collect();
        Ok(Some(Update { product: Product::Kronecker([first.factor, second.factor]), scale, shape }))
    }

    fn hadamard(&self) -> std::result::Result<Option<Update>, String> {
        let first = self.factor(None, Part::LohaW1A, Part::LohaW1B)?;
        let second = self.factor(None, Part::LohaW2A, Part::LohaW2B)?;
        let (first, second) = match (first, second) {
            (None, None) => return Ok(None),
            (Some(first), Some(second)) if first.shape == second.shape => (first, second),
            _ => return Err(format!("{} has no two pairs hada_w1 and hada_w2 of the same shape", self.name)),
        };
        let (scale, shape) = (self.scale(first.rank)?, first.shape.to_vec());
        Ok(Some(Update { product: Product::Hadamard([first.factor, second.factor]), scale, shape }))
    }

    /// Returns a factor that is stored whole or as a pair.
    fn factor(&self, whole: Option<Part>, a: Part, b: Part) -> std::result::Result<Option<ShapedFactor>, String> {
        let whole = whole.and_then(|part| self.parts.get(&part));
        match (whole, self.pair(a, b)?) {
            (None, None) => Ok(None),
            (Some(name), None) => {
                Ok(Some(ShapedFactor { factor: Factor::Whole(name.clone()), shape: self.matrix(name)?, rank: None }))
            }
            (None, Some((a, b))) => {
                let (rows, columns, rank) = self.pair_shape(&a, &b)?;
                Ok(Some(ShapedFactor { factor: Factor::Pair(a, b), shape: [rows, columns], rank: Some(rank) }))
            }
            (Some(name), Some(_)) => Err(format!("{name} is stored whole and as a pair")),
        }
    }

    /// Returns the names of two matrices of which a file has both or none.
    fn pair(&self, left: Part, right: Part) -> std::result::Result<Option<(String, String)>, String> {
        match (self.parts.get(&left), self.parts.get(&right)) {
            (None, None) => Ok(None),
            (Some(left), Some(right)) => Ok(Some((left.clone(), right.clone()))),
            (Some(name), None) | (None, Some(name)) => {
                Err(format!("the other matrix of the pair of {name} is missing"))
            }
        }
    }

    /// Returns rows, columns and rank of the product `left · right`.
    fn pair_shape(&self, left: &str, right: &str) -> std::result::Result<(usize, usize, usize), String> {
        let ([rows, rank], [right_rank, columns]) = (self.matrix(left)?, self.matrix(right)?);
        if rank != right_rank || rank == 0 {
            return Err(format!("{left} has rank {rank}, but {right} has rank {right_rank}"));
        }
        Ok((rows, columns, rank))
    }

    fn matrix(&self, name: &str) -> std::result::Result<[usize; 2], String> {
        let shape = self.shape(name)?;
        <[usize; 2]>::try_from(shape).map_err(|_| format!("{name} has shape {shape:?}, but must be a matrix"))
    }

    fn shape(&self, name: &str) -> std::result::Result<&[usize], String> {
        if let Some(dtype) = self.file.unreadable_dtype(name) {
            return Err(format!("{name} is stored as {dtype}, but only floating-point dtypes are supported"));
        }
        Ok(self.file.shape(name))
    }

    /// Returns the scale of a product of `rank`; 1 without a rank.
    fn scale(&self, rank: Option<usize>) -> std::result::Result<Scale, String> {
        let Some(rank) = rank else { return Ok(Scale::Constant(1.0)) };
        let Some(alpha) = self.parts.get(&Part::Alpha) else {
            return self.alpha.scale(self.name, rank).map(Scale::Constant);
        };
        match self.shape(alpha)?.iter().product() {
            1 => Ok(Scale::Alpha { alpha: alpha.clone(), rank }),
            elements => Err(format!("{alpha} has {elements} elements, but must be a scalar")),
        }
    }
}

impl Update {
    /// Returns `sum`, the sum of earlier updates, plus the update at `strength`, in bfloat16.
    ///
    /// As in the official fusion, the matrices are rounded to bfloat16, and so is each sum. The scaled up matrix of the
    /// first update is rounded too; later products are scaled in float32.
    pub(super) fn add_to(
        &self,
        sum: Option<Tensor>,
        file: &SafetensorsFile,
        strength: f64,
        to: ReadTarget,
    ) -> Result<Tensor> {
        let strength = strength * self.scale.value(file, to)?;
        let rounded = |tensor: &Tensor| tensor.to_dtype(DType::BF16)?.to_dtype(DType::F32);
        let float = |name: &str| rounded(&file.float_tensor(name, to)?);
        let factor = |factor: &Factor| match factor {
            Factor::Whole(name) => float(name),
            Factor::Pair(left, right) => float(left)?.matmul(&float(right)?),
        };
        let update = match &self.product {
            Product::LowRank { down, up } if sum.is_none() => {
                rounded(&(float(up)? * strength)?)?.matmul(&float(down)?)?
            }
            Product::LowRank { down, up } => (float(up)?.matmul(&float(down)?)? * strength)?,
            Product::Whole(name) => (float(name)? * strength)?,
            Product::Kronecker([left, right]) => (kronecker(&factor(left)?, &factor(right)?)? * strength)?,
            Product::Hadamard([left, right]) => ((factor(left)? * factor(right)?)? * strength)?,
        };
        match sum {
            Some(sum) => (sum.to_dtype(DType::F32)? + update)?.to_dtype(DType::BF16),
            None => update.to_dtype(DType::BF16),
        }
    }
}

impl Scale {
    fn value(&self, file: &SafetensorsFile, to: ReadTarget) -> Result<f64> {
        match self {
            Self::Constant(scale) => Ok(*scale),
            Self::Alpha { alpha, rank } => {
                let alpha = file.float_tensor(alpha, ReadTarget { device: &Device::Cpu, ..to })?;
                let alpha: f32 = alpha.to_dtype(DType::F32)?.flatten_all()?.get(0)?.to_scalar()?;
                Ok(f64::from(alpha) / *rank as f64)
            }
        }
    }
}

/// Kronecker product of `a (m, n)` and `b (p, q)`, `(m p, n q)`.
fn kronecker(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, n), (p, q)) = (a.dims2()?, b.dims2()?);
    a.reshape((m, 1, n, 1))?.broadcast_mul(&b.reshape((1, p, 1, q))?)?.reshape((m * p, n * q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kronecker_product_has_a_scaled_copy_per_element() -> Result<()> {
        let (a, b) = (Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?, Tensor::new(&[[0f32, 5.]], &Device::Cpu)?);
        assert_eq!(kronecker(&a, &b)?.to_vec2::<f32>()?, [[0., 5., 0., 10.], [0., 15., 0., 20.]]);
        Ok(())
    }
}
