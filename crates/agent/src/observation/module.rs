//! Modules of the kernel.

use api::tetragon as wire;
use compiler::observed::Module;

use super::text::text;

/// Taints by modules that the API has names for; their values are those of the kernel's bits
/// (`TAINT_*` in include/linux/panic.h).
const TAINTS: [wire::TaintedBitsType; 8] = [
    wire::TaintedBitsType::TaintProprietaryModule,
    wire::TaintedBitsType::TaintForcedModule,
    wire::TaintedBitsType::TaintForcedUnloadModule,
    wire::TaintedBitsType::TaintStagedModule,
    wire::TaintedBitsType::TaintOutOfTreeModule,
    wire::TaintedBitsType::TaintUnsignedModule,
    wire::TaintedBitsType::TaintKernelLivePatchModule,
    wire::TaintedBitsType::TaintTestModule,
];

pub(super) fn module(module: &Module) -> wire::KernelModule {
    let bits = TAINTS.into_iter().map(|taint| taint as i32);
    wire::KernelModule {
        name: text(&module.name),
        signature_ok: module.signature_ok,
        tainted: bits.filter(|bit| module.taints & u64::from(bit.unsigned_abs()) != 0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_told_apart() {
        let given = Module {
            name: b"made".to_vec(),
            // Out of tree and unsigned, and a bit that modules do not set.
            taints: 1 << 12 | 1 << 13 | 1 << 9,
            signature_ok: Some(false),
        };
        let expected = wire::KernelModule {
            name: "made".to_owned(),
            signature_ok: Some(false),
            tainted: vec![4096, 8192],
        };
        assert_eq!(module(&given), expected);
        let plain = module(&Module { taints: 0, signature_ok: None, ..given });
        assert_eq!((plain.signature_ok, plain.tainted), (None, Vec::new()));
    }
}
