//! Enumerations of the kernel's, which grow with it.

/// Declares a number of the kernel's with names for the values known here. Any other value can stand
/// in it too: what a newer kernel reports is kept and shown by its number.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$value_meta:meta])* $value:ident = $number:literal $text:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            $($(#[$value_meta])* #[doc = concat!("`", $text, "`.")] pub const $value: Self = Self($number);)*

            /// The kernel's name for it (as `bpftool` shows it), where it is known.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "type {}", self.0),
                }
            }
        }
    };
}
pub(crate) use open_enum;
