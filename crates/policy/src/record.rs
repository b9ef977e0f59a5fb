//! The two declarations that documents are made of: mappings and strings of a fixed set.
//!
//! Both expand to the type itself and to its [`Decode`](crate::schema::Decode): reading, the fields or
//! choices that messages name, defaults, and the OpenAPI schema.

/// Declares a mapping.
///
/// Each field has its name in Rust and in the document, whether it is `required`, `optional` (then it
/// is an `Option`), a `default` with the value, or `empty` (a list or mapping that is empty when
/// absent), its type and its constraints. A `rule` is a CEL expression and its message for the API
/// server, with the same condition in Rust.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $(rule($cel:literal, $message:literal, $holds:expr))*
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident $key:literal: $presence:ident $ty:ty $(= $default:expr)?
                    $(, $constraint:ident $(($value:expr))?)*;
            )*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])+
                pub $field: $crate::record::record!(@type $presence $ty),
            )*
        }

        impl $crate::schema::Decode for $name {
            fn decode(
                node: &$crate::text::Node,
                path: &$crate::problem::Path<'_>,
                report: &mut $crate::problem::Report,
            ) -> Self {
                let known = [$($key),*];
                let Some(fields) = $crate::schema::Fields::of(node, &known, path, report) else {
                    return Self::stand_in();
                };
                let before = report.count();
                let value = Self {
                    $($field: {
                        let constraints = &[$($crate::schema::Constraint::$constraint $(($value))?),*];
                        $crate::record::record!(
                            @decode $presence fields, $key, constraints, path, report $(, $default)?
                        )
                    },)*
                };
                // Rules are about values; with a wrong one there is nothing to judge.
                if report.count() == before {
                    $(
                        let holds: fn(&Self) -> bool = $holds;
                        if !holds(&value) {
                            report.error(node.mark, path, $message);
                        }
                    )*
                }
                value
            }

            fn stand_in() -> Self {
                Self { $($field: $crate::record::record!(@stand_in $presence $ty $(, $default)?),)* }
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                #[allow(unused_mut)]
                let mut required: Vec<&str> = Vec::new();
                $(
                    let mut schema = <$ty as $crate::schema::Decode>::schema();
                    $($crate::schema::Constraint::$constraint $(($value))?.describe(&mut schema);)*
                    schema["description"] =
                        serde_json::Value::from($crate::schema::description(&[$($field_doc),+]));
                    $(
                        let default: $ty = $default;
                        schema["default"] = $crate::schema::Literal::json(&default);
                    )?
                    $crate::record::record!(@require $presence required $key);
                    properties.insert($key.to_owned(), schema);
                )*
                let mut schema = serde_json::json!({
                    "type": "object",
                    "description": $crate::schema::description(&[$($doc),+]),
                    "properties": properties,
                });
                if !required.is_empty() {
                    schema["required"] = serde_json::json!(required);
                }
                let rules: Vec<serde_json::Value> =
                    vec![$(serde_json::json!({"rule": $cel, "message": $message})),*];
                if !rules.is_empty() {
                    schema["x-kubernetes-validations"] = serde_json::Value::from(rules);
                }
                schema
            }
        }
    };

    (@type optional $ty:ty) => { Option<$ty> };
    (@type $presence:ident $ty:ty) => { $ty };

    (@decode required $fields:ident, $key:literal, $constraints:ident, $path:ident, $report:ident) => {
        $fields.required($key, $constraints, $path, $report)
    };
    (@decode optional $fields:ident, $key:literal, $constraints:ident, $path:ident, $report:ident) => {
        $fields.optional($key, $constraints, $path, $report)
    };
    (@decode empty $fields:ident, $key:literal, $constraints:ident, $path:ident, $report:ident) => {
        $fields.optional($key, $constraints, $path, $report).unwrap_or_default()
    };
    (@decode default $fields:ident, $key:literal, $constraints:ident, $path:ident, $report:ident,
     $default:expr) => {
        $fields.optional($key, $constraints, $path, $report).unwrap_or_else(|| $default)
    };

    (@stand_in optional $ty:ty) => { None };
    (@stand_in default $ty:ty, $default:expr) => { $default };
    (@stand_in $presence:ident $ty:ty) => { <$ty as $crate::schema::Decode>::stand_in() };

    (@require required $required:ident $key:literal) => { $required.push($key) };
    (@require $presence:ident $required:ident $key:literal) => {};
}
pub(crate) use record;

/// Declares a string of a fixed set; the first choice is the stand-in. A choice's first name is the
/// one that messages use.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident {
            $(
                $(#[doc = $choice_doc:literal])+
                $choice:ident $main:literal $(| $other:literal)*,
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(
                $(#[doc = $choice_doc])+
                $choice,
            )+
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$choice),+];

            /// The name in documents and messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$choice => $main,)+ }
            }

            /// The choice of that name, in any of its spellings.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($main $(| $other)* => Some(Self::$choice),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl $crate::schema::Decode for $name {
            fn decode(
                node: &$crate::text::Node,
                path: &$crate::problem::Path<'_>,
                report: &mut $crate::problem::Report,
            ) -> Self {
                let names = [$($main),+];
                $crate::schema::choose(node, path, report, Self::named, &names)
                    .unwrap_or_else(Self::stand_in)
            }

            fn stand_in() -> Self {
                Self::ALL[0]
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": [$($main $(, $other)*),+]})
            }
        }

        impl $crate::schema::Literal for $name {
            fn json(&self) -> serde_json::Value {
                serde_json::Value::from(self.name())
            }
        }
    };
}
pub(crate) use choices;
