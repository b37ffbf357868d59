//! Nothing: only the C++ that comes along is wanted.
