//! Layout of the observation region and encoding of its records, shared by guest and host
