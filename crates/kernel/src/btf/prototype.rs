//! What functions and tracepoints take and give.

use super::{Btf, BtfError, Kind, Type, TypeId};

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name; empty where the kernel's BTF has none.
    pub name: String,
    /// Type.
    pub ty: TypeId,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Parameters in order.
    pub params: Vec<Param>,
    /// Type of the result; void is type 0.
    pub ret: TypeId,
    /// Takes further arguments, as `printf` does.
    pub variadic: bool,
}

impl Btf {
    /// The prototype of a function, of a prototype type, or of a pointer to one.
    pub fn prototype(&self, id: TypeId) -> Result<Prototype, BtfError> {
        let mut current = self.peel(id);
        // At most pointer → prototype, or function → prototype.
        for _ in 0..2 {
            match self.ty(current)? {
                Type::FuncProto(proto) => {
                    let mut params: Vec<_> =
                        proto.params().map(|(name, ty)| Param { name: name.into(), ty }).collect();
                    let variadic = params.pop_if(|last| last.ty == TypeId::VOID).is_some();
                    return Ok(Prototype { params, ret: proto.ret, variadic });
                }
                Type::Func { prototype, .. } => current = prototype,
                Type::Pointer { to } => current = self.peel(to),
                _ => break,
            }
        }
        match self.ty(current)? {
            Type::FuncProto(_) => self.prototype(current),
            _ => Err(BtfError::NotFunction(self.display(id))),
        }
    }

    /// What a tracepoint passes to programs with typed arguments (`tp_btf`), as `sched_process_exec`.
    ///
    /// The kernel declares `typedef void (*btf_trace_NAME)(void *__data, ...)` for each; the first
    /// parameter is its own and not in the result. That typedef has no names of parameters; they come
    /// from `__probestub_NAME` or `__bpf_trace_NAME`, where the kernel describes one of these.
    pub fn tracepoint_prototype(&self, tracepoint: &str) -> Result<Prototype, BtfError> {
        let unknown = || BtfError::NoTracepoint(tracepoint.into());
        let typedef = format!("btf_trace_{tracepoint}");
        let typedef = self.find(Kind::Typedef, &typedef).ok_or_else(unknown)?;
        let mut prototype = self.prototype(typedef)?;
        if prototype.params.is_empty() {
            return Err(unknown());
        }
        prototype.params.remove(0);
        let named = ["__probestub_", "__bpf_trace_"].iter().find_map(|prefix| {
            let func = self.find(Kind::Func, &format!("{prefix}{tracepoint}"))?;
            let named = self.prototype(func).ok()?;
            let same = named.params.len() == prototype.params.len() + 1;
            let complete = named.params.iter().all(|param| !param.name.is_empty());
            (same && complete).then_some(named)
        });
        if let Some(named) = named {
            for (param, from) in prototype.params.iter_mut().zip(named.params.into_iter().skip(1)) {
                param.name = from.name;
            }
        }
        Ok(prototype)
    }
}
