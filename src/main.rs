//! The program `larder`: arguments in, library calls, words and exit codes out.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
