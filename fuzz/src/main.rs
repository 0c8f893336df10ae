//! Writes the seeds to the folder `corpus`, or the one that is named.

use std::{env, error::Error, fs, path::Path};

use wilco_fuzz::seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = env::args_os().nth(1).map_or(root.join("corpus"), Into::into);
    for seed in seeds::all(&root.join(".."))? {
        let folder = corpus.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(&seed.name), &seed.data)?;
    }
    Ok(())
}
