//! Names by which machines of others act once they are pushed.

/// Beside those that no command may write: files whose words are commands, or settings that a program obeys, by lying
/// where they lie and without anybody's naming them. `*` stands for nothing, or for what a dot or another sign begins.
///
/// Not among them is what says no more than what there is: sources and tests, which a machine runs as it ran those before
/// them, and lists of what these are or need (`Cargo.toml`, `go.mod`, `requirements.txt`, lock files), though such a list
/// may lead to a source that is run as it is built.
const ACT: [&str; 114] = [
    // Machines of a forge, and who is asked there.
    ".appveyor.yml",
    ".azure-pipelines",
    ".build.yml",
    ".builds",
    ".cirrus*",
    ".drone*",
    ".forgejo",
    ".gitea",
    ".github",
    ".gitlab",
    ".gitlab-ci*",
    ".goreleaser*",
    ".mergify*",
    ".releaserc*",
    ".renovaterc*",
    ".semaphore",
    ".teamcity",
    ".tekton",
    ".travis*",
    ".woodpecker*",
    "amplify.yml",
    "app.yaml",
    "appveyor.yml",
    "azure-pipelines*",
    "bitbucket-pipelines*",
    "bitrise.yml",
    "buildspec*",
    "cloudbuild*",
    "codemagic.yaml",
    "codeowners",
    "fly.toml",
    "jenkinsfile*",
    "netlify.toml",
    "procfile",
    "render.yaml",
    "renovate.json*",
    "vercel.json",
    "wercker.yml",
    // Git itself, and hooks.
    ".gitattributes",
    ".githooks",
    ".gitmodules",
    ".lefthook*",
    ".lintstagedrc*",
    ".pre-commit-config*",
    "lefthook*",
    // What builds, installs and tests by being there.
    ".bazelrc",
    ".cargo",
    ".justfile",
    ".mvn",
    ".npmrc",
    ".pnpmfile*",
    ".rake*",
    ".yarn",
    ".yarnrc*",
    "build.bazel",
    "build.gradle*",
    "build.rs",
    "build.sbt",
    "build.xml",
    "build.zig",
    "cmakelists.txt",
    "composer.json",
    "configure*",
    "conftest.py",
    "deno.json*",
    "directory.build*",
    "gemfile*",
    "gnumakefile*",
    "gradle.properties",
    "gradlew*",
    "gruntfile*",
    "gulpfile*",
    "justfile*",
    "makefile*",
    "meson.build",
    "mix.exs",
    "module.bazel",
    "mvnw*",
    "noxfile.py",
    "nuget.config",
    "package.json",
    "package.swift",
    "podfile",
    "pom.xml",
    "pyproject.toml",
    "pytest.ini",
    "rakefile*",
    "rebar.config",
    "rust-toolchain*",
    "sconstruct",
    "settings.gradle*",
    "setup.cfg",
    "setup.py",
    "sitecustomize.py",
    "taskfile*",
    "tox.ini",
    "workspace.bazel",
    // What starts containers, machines and shells.
    ".devcontainer*",
    ".mise*",
    ".tool-versions",
    "compose.override*",
    "compose.yaml",
    "compose.yml",
    "containerfile*",
    "default.nix",
    "devcontainer.json",
    "docker-compose*",
    "dockerfile*",
    "flake.nix",
    "mise.toml",
    "shell.nix",
    "skaffold.yaml",
    "tiltfile",
    "vagrantfile",
];

/// Whether others act by a path; some file systems know no case, and fold letters that only look like others.
pub fn acts(path: &str) -> bool {
    let path = path.to_uppercase().to_lowercase();
    let is_one = |part: &str| ACT.iter().any(|name| is_called(part, name));
    backstay_sandbox::is_protected(&path) || path.split('/').any(is_one)
}

fn is_called(part: &str, name: &str) -> bool {
    let begins = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
    name.strip_suffix('*').map_or(part == name, |name| part.strip_prefix(name).is_some_and(begins))
}

#[cfg(test)]
mod tests {
    use super::{ACT, acts};

    #[test]
    fn names_by_which_others_act_are_known_wherever_they_stand() {
        for path in [
            ".github/workflows/ci.yml",
            ".github/dependabot.yml",
            "a/.GitHub/x",
            ".gitlab-ci.yml",
            ".GitLab-CI.yml",
            ".gitmodules",
            "sub/.gitattributes",
            "crates/a/build.rs",
            "Makefile",
            "ma\u{212a}efile",
            "Makefile.am",
            "a/b/package.json",
            ".husky/pre-push",
            ".HUSKY/pre-push",
            "AGENTS.md",
            "Jenkinsfile",
            "jenkinsfile",
            "Jenkinsfile.release",
            "azure-pipelines.yaml",
            ".azure-pipelines/x.yml",
            ".woodpecker/a.yml",
            ".woodpecker.yaml",
            ".drone.yml",
            ".cargo/config",
            "a/.cargo/config.toml",
            "rust-toolchain.toml",
            "Justfile",
            "docker-compose.yml",
            "Docker-Compose.override.yaml",
            "Dockerfile.prod",
            ".npmrc",
            ".yarnrc.yml",
            "setup.cfg",
            "setup.py",
            "tox.ini",
            "pyproject.toml",
            ".pre-commit-config.yaml",
            ".githooks/pre-push",
            "CODEOWNERS",
        ] {
            assert!(acts(path), "{path}");
        }
        for path in [
            "src/main.rs",
            "docs/github.md",
            "build.rs.md",
            "rebuild.rs",
            "github/workflows/ci.yml",
            "makefiles/a.txt",
            "a/configured.rs",
            "Cargo.toml",
            "Cargo.lock",
            "go.mod",
            "requirements.txt",
        ] {
            assert!(!acts(path), "{path}");
        }
    }

    /// The form in which a path is compared with them.
    #[test]
    fn each_is_written_once_and_in_lower_case() {
        for (place, name) in ACT.iter().enumerate() {
            assert_eq!(*name, name.to_lowercase());
            assert!(!ACT[..place].contains(name), "{name}");
        }
    }
}
