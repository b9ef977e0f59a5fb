//! Cases on which program and evaluator once did not agree.
