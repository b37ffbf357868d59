//! What is running, written into files of every look: nothing but the changed values differs.

mod common;

use std::time::Duration;

use proptest::prelude::*;
use tidegate_config::{Config, DEFAULT, Secrets, Unsaved, differences, load, reference, render_all, rewrite, write};
use tidegate_engine::{Auto, Policy, PoolSettings};

fn good(text: &str) -> Config {
    match load(text, "pipeline.toml", &common::catalogue()) {
        Ok(config) => config,
        Err(diagnostics) => panic!("refused:\n{}\n{text}", render_all(&diagnostics, false)),
    }
}

fn saved(text: &str, running: &Config) -> String {
    match rewrite(text, "pipeline.toml", &common::catalogue(), running) {
        Ok(text) => text,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// The other stages, where a file names only the line's middle.
const OTHERS: &str = "[stages.decode]\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n\
                      [stages.hook]\n[stages.push]\n";

/// Each is two files: before and after what stands between `‹` and `›` is changed from the left of `→` to its right.
/// `@others` are the stages beside route.
const LOOKS: &[(&str, &str)] = &[
    ("plain", "[stages.route]\nworkers = ‹1→4›\nbatch = ‹64→16›\n@others"),
    ("tight", "[stages.route]\nworkers=‹1→4›\nbatch=‹64→128›\n@others"),
    ("wide", "[stages.route]\n  workers   =    ‹1→4›   \n\n\n   batch=   ‹64→128›\t\t\n@others"),
    (
        "aligned",
        "[stages.route]\nworkers        = ‹1→4›\nkey_share      = ‹0.1→0.25›\ndelay_interval = ‹\"50ms\"→\"20ms\"›\n@others",
    ),
    ("tabs", "[stages.route]\n\tworkers\t=\t‹1→4›\t# threads\n\tbatch\t=\t64\n@others"),
    (
        "comments behind",
        "[stages.route] # the middle\nworkers = ‹1→12›   # ‹not this one: 1›\nbound = ‹8192→4096›# tight\n@others",
    ),
    (
        "comments everywhere",
        "# 1\n# workers = 1\n[stages.route] # workers = 1\n# workers = 1\nworkers = ‹1→4› # workers = 1\n# workers = 1\n@others# end",
    ),
    ("Chinese comments", "# 服务器 🚀\n[stages.route] # 路由\nworkers = ‹1→4› # 线程数，原来是 1\n# 再见\n@others"),
    ("underscores", "[stages.route]\nbound = ‹8_192→4096›\nbatch = 6_4\nwindow = ‹1_6→32›\n@others"),
    ("auto", "[stages.route]\nworkers = ‹1→\"auto\"› # it finds out\nbatch   = ‹\"auto\"→16›\n@others"),
    ("single quotes auto", "[stages.route]\nworkers = 'auto'\nbound = ‹8192→4096›\n@others"),
    ("bases", "[stages.route]\nbound = 0x2000\nbatch = 0b100_0000\nwindow = 0o20\nworkers = ‹0x1→4›\n@others"),
    ("signs", "[stages.route]\nworkers = ‹+1→4›\nbatch = +64\nkey_share = +0.5\n@others"),
    ("floats", "[stages.route]\nkey_share = 1e-1\nworkers = ‹1→4›\n[journeys]\nsample = 1_0.0e-1\n@others"),
    (
        "another way to say a time",
        "[stages.route]\ndelay_target = \"0.005s\"\ndelay_interval = \"50_000 us\"\nworkers = ‹1→4›\n@others",
    ),
    (
        "a time",
        "[stages.route]\ndelay_target = ‹\"0.005s\"→\"8ms\"›\ndelay_interval = ‹\"100ms\"→\"1s\"› # each\n@others",
    ),
    ("part of a microsecond", "[stages.route]\npool = \"p\"\n[pools.p]\nspin = ‹\"5us\"→\"2.5us\"›\n@others"),
    ("literal strings", "[stages.route]\npolicy = ‹'block'→'drop-oldest'›\ndelay_target = ‹'5ms'→'6ms'›\n@others"),
    (
        "long strings",
        "[stages.route]\npolicy = ‹\"\"\"block\"\"\"→\"drop-oldest\"›\ndelay_target = ‹'''5ms'''→'6ms'›\n@others",
    ),
    (
        "long strings with a line end",
        "[stages.route]\npolicy = ‹\"\"\"\\\n   block\"\"\"→\"drop-oldest\"› # really\nbatch = 8\n@others",
    ),
    ("escapes", "[stages.route]\npolicy = ‹\"bl\\u006fck\"→\"drop-oldest\"›\ndelay_target = \"\\u0035ms\"\n@others"),
    ("quoted keys", "[\"stages\".'route']\n\"workers\" = ‹1→4›\n'batch'=‹64→16›\n@others"),
    (
        "blanks in headers",
        "[ stages . route ]\nworkers = ‹1→4›\n‹→batch = 16\n›[\tstages.\tdecode\t]\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n",
    ),
    ("inline table", "[stages]\nroute = { workers = ‹1→4›, batch = ‹64→16› }\n@inner"),
    ("tight inline table", "[stages]\nroute={workers=‹1→4›,batch=64‹→,bound=4096›}\n@inner"),
    ("empty inline table", "[stages]\nroute = {‹→ workers = 4, batch = 16 ›} # all by default\n@inner"),
    (
        "inline with to",
        "[stages]\nroute = { workers = ‹1→4›, to = { durable = \"persist\", transient = \"fan_out\", before = \"hook\", lookup = \"read\" }‹→, batch = 16› }\n@inner",
    ),
    (
        "all stages in braces",
        "stages = { route = { workers = ‹1→4› }, decode = {‹→ workers = 2 ›}, authenticate = {}, read = {}, persist = {}, fan_out = {}, hook = { in_flight = ‹9→99› }, push = {} }\n",
    ),
    (
        "braces over lines",
        "[stages]\nroute = {\n  workers = ‹1→4›, # threads\n  batch = 64, # taken at once\n‹→  bound = 4096,\n›}\n@inner",
    ),
    (
        "braces over lines, no last comma",
        "[stages]\nroute = {\n  workers = ‹1→4›, # threads\n  batch = 64‹→,› # taken at once\n‹→  bound = 4096\n›}\n@inner",
    ),
    ("dotted keys", "[stages]\nroute.workers = ‹1→4›\nroute.batch = 64 # at once\n‹→route.bound = 4096\n›@inner"),
    (
        "dotted keys at the root",
        "stages.route.workers = ‹1→4›\nstages.route.batch = 64\n‹→stages.route.bound = 4096\n›stages.decode.workers = 1\nstages.authenticate = {}\nstages.read = {}\nstages.persist = {}\nstages.fan_out = {}\nstages.hook = {}\nstages.push = {}\n",
    ),
    (
        "dotted and quoted",
        "\"stages\".'route'.workers=‹1→4›\n‹→\"stages\".'route'.bound=4096\n›stages . decode . workers = ‹1→2›\nstages.authenticate = {}\nstages.read = {}\nstages.persist = {}\nstages.fan_out = {}\nstages.hook = {}\nstages.push = {}\n",
    ),
    (
        "dotted keys mixed up",
        "[stages]\nroute.workers = ‹1→4›\ndecode.workers = ‹1→3›\nroute.batch = ‹64→32›\ndecode.batch = 64\nauthenticate = {}\nread = {}\npersist = {}\nfan_out = {}\nhook = {}\npush = {}\n",
    ),
    (
        "dotted within braces",
        "stages = { route.workers = ‹1→4›, route.batch = 64‹→, route.bound = 4096›, decode = {}, authenticate = {}, read = {}, persist = {}, fan_out = {}, hook = {}, push = {} }\n",
    ),
    (
        "dotted to",
        "[stages.route]\nto.durable = \"persist\"\nto.transient = \"fan_out\"\nto.before = \"hook\"\nto.lookup = \"read\"\n‹→workers = 4\n›\n@others",
    ),
    (
        "to in a table of its own",
        "[stages.route]\nworkers = ‹1→4›\n‹→batch = 16\n›[stages.route.to]\ndurable = \"persist\"\ntransient = \"fan_out\"\nbefore = \"hook\"\nlookup = \"read\"\n@others",
    ),
    (
        "only to in a table of its own",
        "[stages.route.to]\ndurable = \"persist\"\ntransient = \"fan_out\"\nbefore = \"hook\"\nlookup = \"read\"\n@others‹→\n[stages.route]\nworkers = 4\n›",
    ),
    (
        "tables out of order",
        "[stages.push]\n[journeys]\nkeep = 5\n[stages.hook]\n[stages.read]\n[pools.p]\nworkers = ‹2→3›\n[stages.route]\npool = \"p\"\nworkers = ‹1→4›\n[net]\nreactors = 1\n[stages.decode]\n[stages.authenticate]\n[store]\n[stages.persist]\n[stages.fan_out]\n",
    ),
    (
        "indented tables",
        "  [stages.route]\n    workers = ‹1→4›\n‹→    batch = 16\n›\n  [stages.decode]\n‹→    workers = 2\n›  [stages.authenticate]\n  [stages.read]\n  [stages.persist]\n  [stages.fan_out]\n  [stages.hook]\n  [stages.push]\n",
    ),
    ("a missing key before a gap", "[stages.route]\nworkers = 1\n‹→batch = 16\n›\n\n# The others.\n\n@others"),
    ("a missing key behind a header", "[stages.route] # nothing yet\n‹→workers = 4\n›# The others.\n@others"),
    (
        "a missing key among aligned ones",
        "[stages.route]\nworkers   = 1  # threads\nkey_share = 0.2\n‹→batch     = 16\n›\n@others",
    ),
    (
        "a missing key too long to align",
        "[stages.route]\nbatch   = 64\nworkers = 1\n‹→delay_interval = \"20ms\"\n›\n@others",
    ),
    ("a missing key among tight ones", "[stages.route]\nworkers=1\n‹→batch=16\n›@others"),
    (
        "a missing key behind a long list",
        "[listen]\ntrusted_proxies = [\n  \"10.0.0.0/8\", # ours\n  \"127.0.0.0/8\",\n] # that is all\n‹→plain = false\n›[stages.route]\nworkers = ‹1→2›\n@others",
    ),
    (
        "no stages at all",
        "[net]\nreactors = 1\n‹→\n[stages.decode]\n[stages.authenticate]\n[stages.route]\nworkers = 4\n[stages.persist]\n[stages.fan_out]\n[stages.read]\n[stages.hook]\n[stages.push]\n›",
    ),
    (
        "nothing at all",
        "‹→[stages.decode]\n[stages.authenticate]\n[stages.route]\nworkers = 4\n[stages.persist]\n[stages.fan_out]\n[stages.read]\n[stages.hook]\n[stages.push]\n›",
    ),
    (
        "only a comment",
        "# mine\n‹→\n[stages.decode]\n[stages.authenticate]\n[stages.route]\n[stages.persist]\nworkers = 2\nbatch = 512\n[stages.fan_out]\n[stages.read]\n[stages.hook]\n[stages.push]\n›",
    ),
    ("a missing section", "[stages.route]\nworkers = ‹1→4›\n@others‹→\n[journeys]\nsample = 0.5\n›"),
    ("a section by its parts only", "[listen.tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n‹→\n[listen]\nplain = false\n›"),
    (
        "pools",
        "[stages.route]\npool = \"p\" # with decode\n[stages.decode]\npool = \"p\"\n[pools.p]\nworkers = ‹2→3›\nspin = ‹\"5us\"→\"0us\"›\n‹→reactors = false\n›[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n",
    ),
    ("pools in braces", "pools = { p = {‹→ workers = 3 ›} }\n[stages.route]\npool = \"p\"\n@others"),
    ("dotted pools", "pools.p.workers = ‹2→3›\n‹→pools.p.reactors = false\n›[stages.route]\npool = \"p\"\n@others"),
    (
        "into a pool",
        "[stages.route]\npool = \"p\"\n[stages.decode]\nworkers = 1\n‹→pool = \"p\"\n›[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n[pools.p]\n",
    ),
    (
        "between pools",
        "[stages.route]\npool = ‹'p'→'q'›   # moved\n[stages.decode]\npool = \"p\"\n[stages.authenticate]\npool = \"q\"\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n[pools.p]\n[pools.q]\n",
    ),
    (
        "out of a pool",
        "[stages.route]\nworkers = 1\n‹pool = \"p\"\n→›batch = ‹64→16›\n[stages.decode]\npool = \"p\"\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n[pools.p]\n",
    ),
    (
        "out of a pool, with a comment",
        "[stages.route]\n  ‹pool = \"p\"   →›# with decode: they are short\n[stages.decode]\npool = \"p\"\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n[pools.p]\n",
    ),
    (
        "out of a pool, in braces",
        "[stages]\nroute = { ‹pool = \"p\", →›workers = 1 }\ndecode = { pool = \"p\" }\nauthenticate = { workers = 1‹, pool = \"p\"→› }\nread = {}\npersist = {}\nfan_out = {‹ pool = \"p\" →›}\nhook = {}\npush = {}\n[pools.p]\n",
    ),
    (
        "out of a pool, in braces over lines",
        "[stages]\nroute = {\n  workers = 1,\n‹  pool = 'p',\n→›  batch = 64,\n}\nfan_out = {\n  batch = 64,\n  ‹pool = 'p', →›# why not\n}\ndecode = { pool = \"p\" }\nauthenticate = {}\nread = {}\npersist = {}\nhook = {}\npush = {}\n[pools.p]\n",
    ),
    (
        "out of a pool, dotted",
        "[stages]\nroute‹.pool = \"p\"→ = {}› # alone\ndecode.pool = \"p\"\nauthenticate.workers = 1\n‹authenticate.pool = \"p\"\n→›read = {}\npersist = {}\nfan_out = {}\nhook = {}\npush = {}\n[pools.p]\n",
    ),
    (
        "a stage of another name",
        "net.to = \"first\"\n[stages.first]\nmodule = \"decode\"\nworkers = ‹1→2›\n[stages.authenticate]\n[stages.route]\nto = { durable = \"persist\", transient = \"fan_out\", before = \"late_hook\", lookup = \"read\" }\n[stages.late_hook]\nmodule = \"hook\" # asked before\nto = { push = \"none\" }\nin_flight = ‹0x100→512›\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\nto = { push = \"none\" }\n",
    ),
    (
        "other sections",
        "[net]\nreactors = ‹1→2›\noutbox = ‹'256 KiB'→'1 MiB'› # each\ncredit_bytes = \"0.25 MiB\"\n[store]\nsync = ‹\"commit\"→\"interval 100ms\"›\n[listen]\nhttp = ‹\"127.0.0.1:7700\"→\"127.0.0.1:80\"›\ntcp = ‹\"127.0.0.1:7701\"→\"off\"›\n[memory]\nnonces = ‹1_000→2000›\n",
    ),
    ("control over nothing", "[stages.route]\nworkers = 1\nbatch = 0x40\n@others"),
    (
        "apps around",
        "[[app]]\nid = \"company-chat\"\nkey = \"client-key-0001\"\nmaster_key = \"master-key-0001-0001\"\n[[app.webhook]]\nurl = \"https://hooks.example.com/a\"\nsecret = \"s3cret-of-a-hook\"\n[stages.route]\nworkers = ‹1→4›\n@others[[app]]\nid = \"company-news\"\nkey = \"client-key-0002\"\nmaster_key = \"master-key-0002-0002\"\n",
    ),
    ("many blank lines", "\n\n\n\n[stages.route]\n\n\n\nworkers = ‹1→4›\n\n\n\n@others\n\n\n\n"),
    (
        "no blank lines and no newline",
        "[stages.push]\n[stages.hook]\n[stages.decode]\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.route]\nworkers = ‹1→4›‹→\nbatch = 16›",
    ),
    (
        "a comment without a newline",
        "[stages.push]\n[stages.hook]\n[stages.decode]\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.route]\nworkers = ‹1→4› # last‹→\nbatch = 16›",
    ),
    (
        "values that look alike",
        "[stages.route]\nworkers = 1\nbatch = ‹1→11›\nwindow = 1\n[stages.decode]\nworkers = 1\nbatch = 1\n[stages.authenticate]\nbatch = 1\n[stages.read]\nbatch = ‹1→11›\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n",
    ),
    (
        "text that looks like tables",
        "[listen]\ntls = { cert = \"[stages.route] workers = 1\", key = '# workers = 1' }\n[stages.route]\nworkers = ‹1→4›\n@others",
    ),
];

/// The two files of a look.
fn both(look: &str) -> (String, String) {
    let inner = OTHERS.replace("[stages.", "").replace("]\n", " = {}\n");
    let look = look.replace("@others", OTHERS).replace("@inner", &inner);
    let (mut before, mut after) = (String::new(), String::new());
    for (at, part) in look.split(['‹', '›']).enumerate() {
        match part.split_once('→') {
            Some((old, new)) if at % 2 == 1 => {
                before.push_str(old);
                after.push_str(new);
            }
            _ => [&mut before, &mut after].into_iter().for_each(|text| text.push_str(part)),
        }
    }
    (before, after)
}

/// A file as editors of different minds keep it.
fn keepings(text: &str) -> [String; 5] {
    let open = text.strip_suffix('\n').unwrap_or(text).to_owned();
    let crlf = text.replace('\n', "\r\n");
    let mark = |text: &str| format!("\u{feff}{text}");
    [text.to_owned(), crlf.clone(), open, mark(text), mark(&crlf)]
}

#[test]
fn only_the_changed_values_differ() {
    assert!(LOOKS.len() >= 50);
    for (name, look) in LOOKS {
        let (before, after) = both(look);
        // An empty file has no line end to go by.
        let count = if before.is_empty() { 1 } else { 5 };
        for (before, after) in keepings(&before).iter().zip(keepings(&after)).take(count) {
            assert_eq!(saved(before, &good(&after)), after, "{name}, from\n{before}");
        }
    }
}

/// Not by the templates: each line is the old one but for what stands in place of its value.
#[test]
fn a_line_differs_in_its_value_only() {
    let mut running = good(DEFAULT);
    for stage in &mut running.topology.stages {
        stage.workers = 3;
        stage.batch = 48;
    }
    let after = saved(DEFAULT, &running);
    let mut old = DEFAULT.lines().peekable();
    for line in after.lines() {
        let same = old.next_if(|old| {
            line == *old
                || line == old.replacen("workers = 1", "workers = 3", 1)
                || line == old.replacen("batch = 64 ", "batch = 48 ", 1)
        });
        assert!(same.is_some() || ["workers = 3", "batch = 48"].contains(&line), "{line:?} is neither old nor new");
    }
    assert_eq!(old.next(), None);
    assert_eq!(after.matches("workers = 3").count(), 8);
    // And all the way back but for the lines that were added, which say the default now.
    let back = saved(&after, &good(DEFAULT));
    let kept = |text: &'static str| text.lines().filter(|line| !["workers = 1", "batch = 64"].contains(line));
    assert!(kept(back.leak()).eq(kept(DEFAULT)));
}

#[test]
fn a_very_long_line_and_a_very_long_file_are_edited_in_place() {
    let long = "服务器 ".repeat(20_000);
    let text =
        format!("# {long}\n[stages.route] # {long}\nworkers = 1 # {long}\n{OTHERS}{}", "# and on\n".repeat(50_000));
    let mut running = good(&text);
    running.topology.stages[0].workers = 7;
    assert_eq!(saved(&text, &running), text.replace("workers = 1 #", "workers = 7 #"));
}

#[test]
fn what_is_not_changed_live_is_refused_in_words() {
    let mut running = good(DEFAULT);
    running.topology.stages[2].to[0].1 = "fan_out".to_owned();
    running.apps.clear();
    let catalogue = common::catalogue();
    let said = rewrite(DEFAULT, "pipeline.toml", &catalogue, &running).unwrap_err().to_string();
    assert!(said.contains("`stages.route.to.durable` cannot be written"), "{said}");
    assert!(said.contains("by hand"), "{said}");

    let Err(Unsaved::Broken(_)) = rewrite("[net\n", "pipeline.toml", &catalogue, &good(DEFAULT)) else {
        panic!("a broken file must stay as it is")
    };
    let mut running = good(DEFAULT);
    running.topology.stages[0].workers = 5_000;
    let said = rewrite(DEFAULT, "pipeline.toml", &catalogue, &running).unwrap_err().to_string();
    assert!(said.contains("refused at the next start") && said.contains("1,024"), "{said}");
}

#[test]
fn no_secret_is_in_an_error() {
    let text = "[admin]\nwrite_token = \"old-token-of-admin\"\n[[app]]\nid = \"company-chat\"\nkey = \"client-key-0001\"\nmaster_key = \"master-key-0001-0001\"\n";
    let mut running = good(text);
    running.admin.write_token = Some("new-token-of-admin".into());
    let error = rewrite(text, "pipeline.toml", &common::catalogue(), &running).unwrap_err();
    let said = format!("{error}\n{error:?}\n{:?}", differences(&good(text), &running));
    assert!(said.contains("`admin.write_token` cannot be written") && !said.contains("token-of-admin"), "{said}");
    running.admin = good(text).admin;
    running.apps[0].master_key = "another-master-key".into();
    let error = rewrite(text, "pipeline.toml", &common::catalogue(), &running).unwrap_err();
    let said = format!("{error}\n{error:?}\n{:?}", differences(&good(text), &running));
    assert!(!said.contains("master-key"), "{said}");
}

#[test]
fn what_is_running_reads_back() {
    let odd = both(LOOKS.iter().find(|(name, _)| *name == "apps around").unwrap().1).0;
    let hooked = "[[app]]\nid = \"company-chat\"\nkey = \"client\\\"key\\\\0001\"\nmaster_key = \"主-master-key-0001\\u0007\"\n\
                  origins = [\"https://a.example\"]\nsignature = { login = \"required\" }\npush_webhook = \"https://p.example/\"\n\
                  [listen]\ntls = { cert = \"c.pem\", key = \"k.pem\" }\npublic_url = \"https://a.example\"\ntcp = \"off\"\n\
                  [admin]\nwrite_token = \"may-change-\\\"everything\\\"\"\nread_token = \"may-look-and-no-more\"\n";
    for text in [DEFAULT, "", "app = []", &odd, hooked] {
        let config = good(text);
        let written = write(&config, Secrets::Shown);
        let again = good(&written);
        assert_eq!(differences(&config, &again), [], "{written}");
        assert_eq!((&again.topology, &again.apps, &again.net), (&config.topology, &config.apps, &config.net));
        assert_eq!((&again.listen, &again.store, &again.in_flight), (&config.listen, &config.store, &config.in_flight));
        assert_eq!(write(&again, Secrets::Shown), written);
        let starred = write(&config, Secrets::Starred);
        good(&starred);
        assert_eq!(again.admin, config.admin);
        assert!(!starred.contains("may-look") && !starred.contains("may-change"), "{starred}");
        for app in &config.apps {
            assert!(!starred.contains(&*app.key) && !starred.contains(&*app.master_key), "{starred}");
        }
    }
    let written = write(&good(DEFAULT), Secrets::Shown);
    assert!(written.starts_with("[listen]\nhttp = \"127.0.0.1:7700\"\n"), "{written}");
    assert!(written.contains("[stages.push]\nmodule = \"push\"\nworkers = 1\nbatch = 64\n"), "{written}");
}

/// A key that is read and not written would be lost by a save.
#[test]
fn every_key_of_the_reference_page_is_written() {
    let text = "[listen]\ntls = { cert = \"c.pem\", key = \"k.pem\" }\npublic_url = \"https://a.example\"\n\
                [admin]\nread_token = \"may-look-and-no-more\"\nwrite_token = \"may-change-everything\"\n\
                [journeys]\nslow = \"1s\"\notlp = \"https://o.example\"\notlp_headers = { Authorization = \"hush\", x-scope = \"7\" }\n\
                [pools.p]\n[stages.route]\npool = \"p\"\n[[app]]\nid = \"company-chat\"\nkey = \"client-key-0001\"\n\
                master_key = \"master-key-0001-0001\"\npush_webhook = \"https://p.example/\"\n[[app.webhook]]\n\
                url = \"https://h.example\"\nsecret = \"s3cret-of-a-hook\"\n\
                [alerts]\nwebhook = \"https://alerts.example\"\nsecret = \"s3cret-of-alerts\"\n";
    let written = write(&good(&format!("{text}{OTHERS}")), Secrets::Shown);
    let page = reference(&common::catalogue());
    let keys = page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3);
    let names: Vec<&str> = keys.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(names.len() > 60 && names.contains(&"key_share"), "{names:?}");
    // Modules' outputs have rows of that shape, too.
    let modules: Vec<_> = common::catalogue().names().collect();
    for name in names.iter().filter(|name| !modules.contains(name)) {
        let forms = [format!("\n{name} = "), format!(" {name} = "), format!("[[app.{name}]]")];
        assert!(forms.iter().any(|form| written.contains(form)), "{name} is not in\n{written}");
    }
}

#[test]
fn an_address_that_lets_in_whoever_knows_it_is_shown_as_far_as_its_host() {
    for (url, shown) in [
        ("https://hooks.example.com/services/T0/B0/xyz", "https://hooks.example.com/****************"),
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("http://10.0.0.1:99/", "http://10.0.0.1:99/"),
    ] {
        let config = good(&format!("[alerts]\nwebhook = \"{url}\"\n"));
        let starred = write(&config, Secrets::Starred);
        assert!(starred.contains(&format!("webhook = \"{shown}\"\n")), "{starred}");
        assert!(good(&starred).alerts.webhook.is_some());
        assert!(write(&config, Secrets::Shown).contains(url));
    }
}

#[test]
fn differences_say_what_takes_a_restart() {
    let from = good(
        "[stages.route]\npool = \"p\"\n[stages.decode]\npool = \"p\"\n[pools.p]\n[stages.authenticate]\n[stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n",
    );
    let mut to = from.clone();
    to.listen.http = None;
    to.topology.stages[0].workers = 4;
    to.topology.stages[0].pool = None;
    to.topology.stages[2].pool = Some("p".to_owned());
    to.topology.stages[4].pool = Some("fresh".to_owned());
    to.topology.pools[0].spin = Duration::ZERO;
    to.topology.pools.push(PoolSettings::new("fresh", 1));
    to.apps[0].key = "another-secret".into();
    let said: Vec<String> = differences(&from, &to).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "listen.http: \"127.0.0.1:7700\" -> \"off\" (at the next start)",
            "stages.route.workers: 1 -> 4",
            "stages.authenticate.pool: nothing -> \"p\"",
            "stages.persist.pool: nothing -> \"fresh\" (at the next start)",
            "pools.p.spin: \"5us\" -> \"0us\"",
            "pools.fresh: nothing -> { … } (at the next start)",
            "app.tidegate-dev.key: \"****************\" -> \"****************\" (at the next start)",
            "stages.route.pool: \"p\" -> nothing",
        ]
    );
    assert_eq!(differences(&to, &to), []);
}

#[test]
fn tables_that_were_moved_about_are_no_difference() {
    let text = "[stages.route]\npool = \"p\"\n[stages.decode]\npool = \"q\"\n[pools.p]\n[pools.q]\n[stages.authenticate]\n\
                [stages.read]\n[stages.persist]\n[stages.fan_out]\n[stages.hook]\n[stages.push]\n";
    let running = good(text);
    let mut tables: Vec<String> = text.split('[').skip(1).map(|table| format!("[{table}")).collect();
    tables.reverse();
    let moved = tables.concat();
    let mut wanted = good(&moved);
    assert_ne!(wanted.topology, running.topology);
    assert_eq!(differences(&running, &wanted), []);
    assert_eq!(saved(&moved, &running), moved);
    wanted.put_in_order_of(&running.topology);
    assert_eq!(wanted.topology, running.topology);
}

#[derive(Debug, Clone)]
enum Change {
    Workers(usize, usize),
    Batch(usize, usize),
    Auto(usize, bool, bool),
    Bound(usize, usize),
    Policy(usize, bool),
    Target(usize, u64),
    Interval(usize, u64),
    Share(usize, u32),
    Window(usize, usize),
    Pool(usize, usize),
    PoolWorkers(usize, usize),
    Spin(usize, u64),
    Reactors(usize, bool),
    Calls(usize),
    Sample(u32),
}

fn a_change() -> impl Strategy<Value = Change> {
    use Change::*;
    prop_oneof![
        (0usize..9, 1usize..1024).prop_map(|(at, n)| Workers(at, n)),
        (0usize..9, 1usize..200).prop_map(|(at, n)| Batch(at, n)),
        (0usize..9, any::<bool>(), any::<bool>()).prop_map(|(at, workers, batch)| Auto(at, workers, batch)),
        (0usize..9, 1000usize..100_000).prop_map(|(at, n)| Bound(at, n)),
        (0usize..9, any::<bool>()).prop_map(|(at, drop)| Policy(at, drop)),
        (0usize..9, 200_000u64..1_000_000_000).prop_map(|(at, ns)| Target(at, ns)),
        (0usize..9, 10_000_000u64..1_000_000_000).prop_map(|(at, ns)| Interval(at, ns)),
        (0usize..9, 1u32..=1_000_000).prop_map(|(at, n)| Share(at, n)),
        (0usize..9, 1usize..65_536).prop_map(|(at, n)| Window(at, n)),
        (0usize..9, 0usize..3).prop_map(|(at, pool)| Pool(at, pool)),
        (0usize..2, 1usize..64).prop_map(|(at, n)| PoolWorkers(at, n)),
        (0usize..2, 0u64..10_000_000).prop_map(|(at, ns)| Spin(at, ns)),
        (0usize..2, any::<bool>()).prop_map(|(at, on)| Reactors(at, on)),
        (1usize..65_536).prop_map(Calls),
        (0u32..=1_000_000).prop_map(Sample),
    ]
}

fn apply(change: &Change, config: &mut Config) {
    let names: Vec<String> = config.topology.pools.iter().map(|pool| pool.name.clone()).collect();
    let stages = &mut config.topology.stages;
    let count = stages.len();
    let (pools, ns) = (&mut config.topology.pools, Duration::from_nanos);
    match *change {
        Change::Workers(at, n) => {
            let stage = &mut stages[at % count];
            (stage.workers, stage.auto.workers) = (n, false);
        }
        Change::Batch(at, n) => {
            let stage = &mut stages[at % count];
            (stage.batch, stage.auto.batch) = (n, false);
        }
        Change::Auto(at, workers, batch) => {
            let stage = &mut stages[at % count];
            stage.auto = Auto { workers, batch };
            // What a start begins with: that, and not what was found by now, is what a file says.
            stage.workers = if workers { 1 } else { stage.workers };
            stage.batch = if batch { 64 } else { stage.batch };
        }
        Change::Bound(at, n) => stages[at % count].bound = n,
        Change::Policy(at, drop) => stages[at % count].policy = if drop { Policy::DropOldest } else { Policy::Block },
        Change::Target(at, n) => stages[at % count].delay_target = ns(n),
        Change::Interval(at, n) => stages[at % count].delay_interval = ns(n),
        Change::Share(at, n) => stages[at % count].key_share = f64::from(n) / 1e6,
        Change::Window(at, n) => stages[at % count].window = n,
        Change::Pool(at, pool) => stages[at % count].pool = names.get(pool).cloned(),
        Change::PoolWorkers(at, n) => pools.iter_mut().skip(at).for_each(|pool| pool.workers = n),
        Change::Spin(at, n) => pools.iter_mut().skip(at).for_each(|pool| pool.spin = ns(n)),
        Change::Reactors(at, on) => pools.iter_mut().skip(at).for_each(|pool| pool.helped = on),
        Change::Calls(n) => config.in_flight.iter_mut().for_each(|(_, calls)| *calls = n),
        Change::Sample(n) => config.journeys.sample = f64::from(n) / 1e6,
    }
}

/// What a text says beside values: its comments, and its lines without what stands behind `=`.
fn comments(text: &str) -> Vec<String> {
    let behind = |line: &str| line.find('#').map(|at| line[at..].to_owned());
    text.lines().filter_map(behind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever was changed while the server ran: it is saved, or refused because no server would start with it; every
    /// comment is where it was; saved twice is saved once; and the way back leads back.
    #[test]
    fn any_changes_are_saved(
        look in 0..LOOKS.len() + 1,
        keeping in 0usize..5,
        changes in prop::collection::vec(a_change(), 1..12),
    ) {
        let text = LOOKS.get(look).map_or(DEFAULT.to_owned(), |(_, look)| both(look).0);
        let text = &keepings(&text)[keeping];
        let before = good(text);
        let mut running = before.clone();
        changes.iter().for_each(|change| apply(change, &mut running));
        match rewrite(text, "pipeline.toml", &common::catalogue(), &running) {
            Ok(after) => {
                let again = good(&after);
                prop_assert_eq!(&differences(&again, &running), &[]);
                prop_assert_eq!(comments(&after), comments(text), "{}", after);
                prop_assert_eq!(after.matches("\r\n").count() > 0, text.matches("\r\n").count() > 0 && !text.is_empty());
                prop_assert!(!text.contains("\r\n") || after.matches('\n').count() == after.matches("\r\n").count());
                prop_assert_eq!(&saved(&after, &running), &after);
                let back = saved(&after, &before);
                prop_assert_eq!(&differences(&good(&back), &before), &[]);
                prop_assert_eq!(comments(&back), comments(text), "{}", back);
            }
            Err(Unsaved::Refused(_)) => {
                prop_assert!(load(&write(&running, Secrets::Shown), "pipeline.toml", &common::catalogue()).is_err());
            }
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }

    /// What is running, defaults written out, is the same configuration.
    #[test]
    fn anything_running_reads_back(changes in prop::collection::vec(a_change(), 0..20), look in 0..LOOKS.len()) {
        let mut running = good(&both(LOOKS[look].1).0);
        changes.iter().for_each(|change| apply(change, &mut running));
        if let Ok(again) = load(&write(&running, Secrets::Shown), "pipeline.toml", &common::catalogue()) {
            prop_assert_eq!(&differences(&again, &running), &[]);
            prop_assert_eq!(&again.topology, &running.topology);
            prop_assert_eq!(&again.apps, &running.apps);
        }
    }
}
