//! A replicated key-value store with quorum reads and writes over `rexi-server`.
