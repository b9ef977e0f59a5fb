//! `tetra debug maps`: the agent's maps and their memory.

use clap::{Args, ValueEnum};
use kernel::map::{Map, MapInfo, map_ids};
use serde_json::json;

use super::{OURS, kernel};
use crate::error::Error;
use crate::table;

/// Which maps.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// How many are printed; 0 for all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    lines: usize,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Tab)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table.
    Tab,
    /// For programs.
    Json,
}

/// The table, and what all maps take together.
pub(crate) fn run(flags: &Flags) -> Result<String, Error> {
    let mut maps: Vec<(MapInfo, u64)> = Vec::new();
    for id in map_ids().map_err(kernel)? {
        // Some may go meanwhile.
        let Ok(map) = Map::from_id(id) else { continue };
        let info = map.info().map_err(kernel)?;
        if info.name.starts_with(OURS) {
            maps.push((info, map.memory_bytes().map_err(kernel)?));
        }
    }
    maps.sort_by(|one, other| {
        (other.1, &one.0.name, one.0.id).cmp(&(one.1, &other.0.name, other.0.id))
    });
    let total: u64 = maps.iter().map(|(_, bytes)| bytes).sum();
    let count = maps.len();
    if flags.lines > 0 {
        maps.truncate(flags.lines);
    }
    Ok(match flags.output {
        Form::Tab => text(&maps, count, total),
        Form::Json => {
            let map = |(info, bytes): &(MapInfo, u64)| {
                json!({
                    "id": info.id, "name": info.name, "type": info.map_type.to_string(),
                    "key_size": info.key_size, "value_size": info.value_size,
                    "max_entries": info.max_entries, "memlock": bytes,
                })
            };
            let maps: Vec<_> = maps.iter().map(map).collect();
            let all = json!({"maps": maps, "total": {"maps": count, "memlock": total}});
            serde_json::to_string_pretty(&all)? + "\n"
        }
    })
}

fn text(maps: &[(MapInfo, u64)], count: usize, total: u64) -> String {
    let head = ["ID", "NAME", "TYPE", "KEYSIZE", "VALUESIZE", "MAXENTRIES", "MEMLOCK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(maps.iter().map(|(info, bytes)| {
        vec![
            info.id.to_string(),
            info.name.clone(),
            info.map_type.to_string(),
            info.key_size.to_string(),
            info.value_size.to_string(),
            info.max_entries.to_string(),
            bytes.to_string(),
        ]
    }));
    let lines = table::lines(&rows).into_iter().map(|line| line + "\n");
    lines.chain([format!("{count} maps, {total} bytes in all\n")]).collect()
}
