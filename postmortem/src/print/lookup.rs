//! From names to values: variables of the frame, globals and statics, symbols.

use uniprof_symbolizer::RegisterFile;
use uniprof_symbolizer::types::{Global, LocalVariable, Scope, TypeId};

use super::PrintError;
use super::expression::TypeName;
use super::frame::{FrameContext, FrameMachine};
use super::inspect::Inspector;
use super::operand::Operand;
use super::value::{Data, Value, Variable};

/// Names that are listed where several are meant.
const LISTED: usize = 8;

impl Inspector<'_> {
    /// The variable that a name means.
    pub(super) fn name(&mut self, name: &str, frame: Option<&FrameContext>) -> Result<Operand, PrintError> {
        if let Some(frame) = frame
            && let Some(found) = self.local(name, frame)?
        {
            return Ok(found);
        }
        let mut globals = self.types.globals(name)?;
        let machine = FrameMachine::new(None, self.space, self.bias);
        let mut places = Vec::new();
        for global in globals.drain(..) {
            let place = self.types.locate_global(&global, &machine);
            // Units that share a variable each describe it.
            if !places.iter().any(|(_, known)| *known == place && place.is_ok()) {
                places.push((global, place));
            }
        }
        match places.as_slice() {
            [] => self.symbol_named(name),
            [(Global { ty: Some(ty), .. }, Ok(place))] => {
                Ok(Operand { ty: *ty, place: place.clone(), bits: None })
            }
            [(global, Err(why))] => {
                Err(PrintError::Unavailable { name: global.name.to_string(), why: why.to_string() })
            }
            [(global, _)] => Err(PrintError::Type(format!("the type of {} is not known", global.name))),
            several => {
                let names = several.iter().map(|(global, _)| global.name.to_string());
                Err(ambiguous(name, names.collect()))
            }
        }
    }

    /// A symbol of which debug information knows nothing: its address can be taken and cast.
    fn symbol_named(&mut self, name: &str) -> Result<Operand, PrintError> {
        let symbol = self.loaded.image.symbol_called(name);
        let symbol =
            symbol.ok_or_else(|| PrintError::NoSuchName { name: name.to_owned(), hint: String::new() })?;
        Ok(Operand::at(self.types.opaque(), self.bias.to_guest(symbol.address).0))
    }

    fn local(&mut self, name: &str, frame: &FrameContext) -> Result<Option<Operand>, PrintError> {
        let Some(scope) = self.scope(frame)? else { return Ok(None) };
        let same = scope.variables.iter().filter(|variable| *variable.name == *name);
        let Some(variable) = same.max_by_key(|variable| variable.block) else { return Ok(None) };
        let found = self.place(variable, frame);
        let unavailable = |why| PrintError::Unavailable { name: name.to_owned(), why };
        found.map(Some).map_err(unavailable)
    }

    fn scope(&mut self, frame: &FrameContext) -> Result<Option<Scope>, PrintError> {
        let mut scopes = self.types.scopes(self.bias.to_link(frame.lookup()))?;
        Ok(if frame.inlined < scopes.len() { Some(scopes.swap_remove(frame.inlined)) } else { None })
    }

    fn place(&mut self, variable: &LocalVariable, frame: &FrameContext) -> Result<Operand, String> {
        let at = self.bias.to_link(frame.lookup());
        let machine = FrameMachine::new(Some(frame), self.space, self.bias);
        let place = self.types.locate(variable, at, &machine).map_err(|why| why.to_string())?;
        let ty = variable.ty.ok_or("of a type that is not known")?;
        Ok(Operand { ty, place, bits: None })
    }

    pub(super) fn locals(&mut self, frame: &FrameContext) -> Result<Vec<Variable>, PrintError> {
        let Some(scope) = self.scope(frame)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for variable in &scope.variables {
            let ty = variable
                .ty
                .and_then(|ty| self.types.name(ty))
                .map(|name| name.to_string())
                .unwrap_or_default();
            // Each variable has its own share.
            self.left = self.limits.nodes;
            let value = match self.place(variable, frame) {
                Ok(place) => match self.render(&place) {
                    Data::Unknown(why) => Err(why),
                    data => Ok(Value { ty: ty.clone(), address: place.address(), data }),
                },
                Err(why) => Err(why),
            };
            found.push(Variable { name: variable.name.to_string(), kind: variable.kind, ty, value });
        }
        Ok(found)
    }

    pub(super) fn register(
        &mut self,
        name: &str,
        frame: Option<&FrameContext>,
    ) -> Result<Operand, PrintError> {
        let number = RegisterFile::number(name).ok_or_else(|| PrintError::NoSuchName {
            name: format!("${name}"),
            hint: ", and no register".into(),
        })?;
        let frame = frame.ok_or_else(|| PrintError::NoFrame { name: format!("${name}") })?;
        let value = frame.registers.0.get(number).copied().flatten();
        let value = value.ok_or_else(|| {
            let why = "not known in this frame: those further in have overwritten it";
            PrintError::Unavailable { name: format!("${name}"), why: why.into() }
        })?;
        let ty = if matches!(name, "rip" | "pc" | "rsp" | "sp" | "rbp" | "fp") {
            self.types.pointer_to(None)
        } else {
            self.number_type("u64")?
        };
        Ok(Operand::of_bytes(ty, value.to_le_bytes().to_vec()))
    }

    pub(super) fn number_type(&mut self, name: &str) -> Result<TypeId, PrintError> {
        self.types.number(name).ok_or_else(|| PrintError::Type(format!("there is no type {name}")))
    }

    /// The type that a name means.
    pub(super) fn type_named(&mut self, name: &TypeName) -> Result<TypeId, PrintError> {
        let own = |inspector: &mut Self| inspector.types.number(&name.name);
        let base = match own(self) {
            Some(number) => Some(number),
            None if matches!(name.name.as_str(), "void" | "c_void") && name.pointers > 0 => None,
            None => {
                let found = self.types.named(&name.name)?;
                match found.as_slice() {
                    [] => {
                        let hint = "; no type is, either".to_owned();
                        return Err(PrintError::NoSuchName { name: name.name.clone(), hint });
                    }
                    [(_, id)] => Some(*id),
                    several => {
                        let names = several.iter().map(|(name, _)| name.to_string()).collect();
                        return Err(ambiguous(&name.name, names));
                    }
                }
            }
        };
        let mut at = match (base, name.count) {
            (Some(element), Some(count)) => Some(self.types.array_of(element, Some(count))),
            (base, _) => base,
        };
        for _ in 0..name.pointers.min(16) {
            at = Some(self.types.pointer_to(at));
        }
        at.ok_or_else(|| PrintError::Type("void has no values".into()))
    }
}

fn ambiguous(name: &str, mut candidates: Vec<String>) -> PrintError {
    let more = candidates.len().saturating_sub(LISTED);
    candidates.sort();
    candidates.truncate(LISTED);
    PrintError::Ambiguous { name: name.to_owned(), candidates, more }
}
