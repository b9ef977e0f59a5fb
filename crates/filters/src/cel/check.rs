//! Names in expressions: that events have what is asked of them. What an expression is about is known
//! from the variables on, through fields and through the variables of `all()`, `exists()` and the like;
//! where it is not known (the result of a function), nothing is said.

use std::collections::HashMap;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::record::PRESENCE;
use crate::schema::{self, Kind, Message};

/// What a part of an expression is.
#[derive(Clone, Copy)]
enum Is {
    Message(&'static Message),
    List(&'static Message),
    Other,
}

/// Names and what they stand for.
type Scope = HashMap<String, Is>;

/// Checks an expression; in what `has()` asks for, names of fields are made to ask for presence.
pub(super) fn check(expression: &mut IdedExpr) -> Result<(), String> {
    let scope = schema::kinds().map(|(kind, message)| (kind.name.clone(), Is::Message(message)));
    walk(expression, &scope.collect()).map(drop)
}

fn walk(expression: &mut IdedExpr, scope: &Scope) -> Result<Is, String> {
    match &mut expression.expr {
        Expr::Ident(name) => scope.get(name).copied().ok_or_else(|| {
            let known: Vec<&str> = schema::kinds().map(|(kind, _)| kind.name.as_str()).collect();
            format!("there is no {name:?}; events are {}", known.join(", "))
        }),
        Expr::Select(select) => {
            let is = walk(&mut select.operand, scope)?;
            let Is::Message(message) = is else { return Ok(Is::Other) };
            let Some(field) = message.field(&select.field) else {
                return Err(message.without(&select.field));
            };
            if select.test {
                select.field = format!("{PRESENCE}{}", select.field);
                return Ok(Is::Other);
            }
            Ok(match (field.kind, field.repeated) {
                (Kind::Message(index), false) => Is::Message(index.message()),
                (Kind::Message(index), true) => Is::List(index.message()),
                _ => Is::Other,
            })
        }
        Expr::Call(call) => {
            let mut first = None;
            for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
                let is = walk(part, scope)?;
                first.get_or_insert(is);
            }
            // An element of a list.
            Ok(match first {
                Some(Is::List(message)) if call.func_name == "_[_]" => Is::Message(message),
                _ => Is::Other,
            })
        }
        Expr::Comprehension(comprehension) => {
            let range = walk(&mut comprehension.iter_range, scope)?;
            walk(&mut comprehension.accu_init, scope)?;
            let mut inner = scope.clone();
            let element =
                if let Is::List(message) = range { Is::Message(message) } else { Is::Other };
            inner.insert(comprehension.iter_var.clone(), element);
            inner.extend(comprehension.iter_var2.clone().map(|name| (name, Is::Other)));
            inner.insert(comprehension.accu_var.clone(), Is::Other);
            walk(&mut comprehension.loop_cond, &inner)?;
            walk(&mut comprehension.loop_step, &inner)?;
            walk(&mut comprehension.result, &inner)
        }
        Expr::List(list) => {
            list.elements.iter_mut().try_for_each(|element| walk(element, scope).map(drop))?;
            Ok(Is::Other)
        }
        Expr::Map(map) => walk_entries(map.entries.iter_mut().map(|entry| &mut entry.expr), scope),
        Expr::Struct(structure) => {
            walk_entries(structure.entries.iter_mut().map(|entry| &mut entry.expr), scope)
        }
        _ => Ok(Is::Other),
    }
}

fn walk_entries<'a>(
    entries: impl Iterator<Item = &'a mut EntryExpr>,
    scope: &Scope,
) -> Result<Is, String> {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => walk(&mut field.value, scope)?,
            EntryExpr::MapEntry(entry) => {
                walk(&mut entry.key, scope)?;
                walk(&mut entry.value, scope)?
            }
        };
    }
    Ok(Is::Other)
}
