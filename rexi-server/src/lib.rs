//! The rexi server that services embed.
