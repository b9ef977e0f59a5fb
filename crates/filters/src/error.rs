//! Filters that cannot be used.

/// Why a filter cannot be used. Each says which field of the filter it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// A regular expression that does not compile.
    #[error("{field}: regular expression {regex:?}: {source}")]
    Regex {
        /// Field of the filter.
        field: &'static str,
        /// The expression.
        regex: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A label selector that does not read as such.
    #[error("labels: selector {selector:?}: {why}")]
    Labels {
        /// The selector.
        selector: String,
        /// What is wrong with it.
        why: String,
    },
    /// An expression that is not CEL, or names what events do not have.
    #[error("cel_expression: {expression:?}: {why}")]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong with it, and where.
        why: String,
    },
    /// A number that no enum value has.
    #[error("{field}: unknown number {number}")]
    Number {
        /// Field of the filter.
        field: &'static str,
        /// The number.
        number: i32,
    },
    /// A path of a field mask that leads nowhere.
    #[error("fields: {path:?}: {why}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// JSON that is not a filter.
    #[error("filter {number}: {why}")]
    Json {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A filter in a list.
    #[error("{list}: filter {number}: {source}")]
    InList {
        /// Which list: `allow_list`, `deny_list` or `field_filters`.
        list: &'static str,
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<FilterError>,
    },
}
