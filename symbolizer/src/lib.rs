//! ELF images of unikernels: identity, load bias, and a name or a reason for every address
