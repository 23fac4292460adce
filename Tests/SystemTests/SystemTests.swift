import Testing

/// Whole processes on loopback, one test at a time: they share two cores.
@Suite(.serialized) enum SystemTests {}
