"""Completion: what makes bash, zsh and fish complete the options of a tool and names of PVs.

Where a tool has commands, the first word is completed as one of them, and the next as a file. Where
a value follows the PV, nothing is completed there. Names of PVs come from the file that the
variable CAPROTO_PV_NAMES names, one a line, and from the earlier commands of the shell.
"""
from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from .._typing import NamedTuple
from .options import Option, Options, spellings

__all__ = ["VARIABLE", "script"]

#: The variable with the path of a file with names of PVs.
VARIABLE = "CAPROTO_PV_NAMES"
#: The arguments of options that name files, or are among a few words.
_FILES = frozenset(("FILE",))
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "WHEN": ("auto", "always", "never"), "SHELL": ("bash", "zsh", "fish"), "BASE": ("x", "o", "b"),
}

# Words of earlier commands of the same tool family that do not look like options or numbers.
_BASH = r"""# Completion of {tool} for bash; use it with:  source <({tool} --completion bash)
_{function}_names() {{
    [[ -r ${{{variable}:-}} ]] && sed -e 's/#.*//' -e 's/^[[:space:]]*//' \
        -e 's/[[:space:]].*//' "${variable}"
    HISTTIMEFORMAT= history 2>/dev/null | sed -n 's/^ *[0-9]* *caproto-[a-z]* //p' |
        tr ' ' '\n' | grep '^[[:alpha:]][^=<>|&;"'"'"']*[:._][^=<>|&;"'"'"']*$'
}}
_{function}() {{
    local line=${{COMP_LINE:0:COMP_POINT}} word before
    word=${{line##*[[:space:]]}}
    before=${{line%"$word"}}
    before=${{before%"${{before##*[![:space:]]}}"}}
    before=${{before##*[[:space:]]}}
{value}    local IFS=$'\n'
    case $before in
{cases}    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W $'{options}' -- "$word"))
{commands}    else
        # Not compgen -W: it would run what a name has in $( ).
        local name
        COMPREPLY=()
        while read -r name; do
            [[ $name == "$word"* ]] && COMPREPLY+=("$name")
        done < <(_{function}_names | sort -u)
        # Where : separates words, bash replaces only what follows the last one.
        if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then
            COMPREPLY=("${{COMPREPLY[@]#"${{word%"${{word##*:}}"}}"}}")
        fi
    fi
}}
complete -F _{function} {tool}
"""

_ZSH = r"""#compdef {tool}
# Completion of {tool} for zsh; use it with:  source <({tool} --completion zsh)
_{function}_names() {{
    local -a names
    local name _
    if [[ -r ${{{variable}:-}} ]]; then
        while read -r name _ || [[ -n $name ]]; do names+=("$name"); done <"${variable}"
    fi
    names+=(${{(M)${{(z)${{(M)history:#caproto-*}}}}:#[[:alpha:]]*[:._]*}})
    names=(${{(u)names:#\#*}})
    compadd -a names
}}
_{function}() {{
    _arguments -s {value}\
{options}{commands}        '{place}:PV:_{function}_names'
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
compdef _{function} {tool}
"""

_FISH = r"""# Completion of {tool} for fish; use it with:  {tool} --completion fish | source
function __{function}_names
    if set -q {variable}; and test -r "${variable}"
        string replace -r '#.*' '' <"${variable}" | string trim | string match -r '^\S+'
    end
    history search --prefix caproto- | string split ' ' |
        string match -r '^[[:alpha:]][^=<>|&;"\']*[:._][^=<>|&;"\']*$'
end
{commands}{value}complete -c {tool} -f{condition} -a '(__{function}_names | sort -u)'
{options}"""


# Where a tool has commands: they, and the file after one of them.
_BASH_COMMANDS = r"""    elif [[ ! $line =~ [[:space:]]({0})[[:space:]] ]]; then
        COMPREPLY=($(compgen -W $'{1}' -- "$word"))
    elif [[ $before == @({0}) ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
"""
_FISH_COMMANDS = """\
complete -c {tool} -f -n 'not __fish_seen_subcommand_from {words}' -a '{words}'
complete -c {tool} -F -n 'contains -- (commandline -poc)[-1] {words}'
"""
_FISH_NAMES = (
    "__fish_seen_subcommand_from {words}; and not contains -- (commandline -poc)[-1] {words}"
)
# Where a value follows the PV: whether there is a PV before the word that is to be completed.
_BASH_VALUE = r"""    local -a words
    local one argument=
    read -ra words <<<"${{line%"$word"}}"
    for one in "${{words[@]:1}}"; do
        if [[ $argument ]]; then
            argument=
        elif [[ $one != -* ]]; then
            COMPREPLY=()
            return
        elif [[ $one =~ {pattern} ]]; then
            argument=follows
        fi
    done
"""
_FISH_VALUE = """\
function __{function}_is_before_pv
    set -l argument
    for one in (commandline -poc)[2..]
        if test -n "$argument"
            set argument
        else if not string match -q -- '-*' $one
            return 1
        else if string match -qr -- '{pattern}' $one
            set argument follows
        end
    end
    return 0
end
complete -c {tool} -f
"""
_FISH_BEFORE_PV = " -n __{function}_is_before_pv"


class _Command(NamedTuple):
    """A tool as a shell knows it."""

    #: By which it was called, perhaps through a link.
    name: str
    #: The first words of its functions.
    function: str
    options: Options
    #: One of them is the first word, and a file the second.
    commands: Sequence[str]
    #: Whether options may stand after the PV; else what follows it is a value.
    options_anywhere: bool


def script(
    shell: str,
    tool: str,
    options: Options,
    commands: Sequence[str] = (),
    *,
    called: str = "",
    options_anywhere: bool = True,
) -> str:
    """Write the completion of a tool.

    Parameters
    ----------
    shell : str
        'bash', 'zsh' or 'fish'.
    tool : str
        The name of the tool.
    options : mapping of str to Option
    commands : sequence of str, optional
        One of them is the first word, and a file the second.
    called : str, optional
        What the tool is called by, if it is another name: that of a link.
    options_anywhere : bool
        Whether options may stand after the PV; else what follows it is a value.
    """
    template, write = _SHELLS[shell]
    name, function = shlex.quote(called or tool), tool.replace("-", "_")
    parts = write(_Command(name, function, options, commands, options_anywhere))
    return template.format(tool=name, function=function, variable=VARIABLE, **parts).rstrip()


# ---- the parts of the scripts


def _awaiting(options: Options) -> str:
    """Return a pattern, for bash and fish, of words after which the argument of an option comes."""
    taking = [(name, option) for name, option in options.items() if option.argument]
    typed = [word for name, option in taking for word in spellings(name, option)]
    letters = "".join(word[1] for word in typed if len(word) == 2)
    words = "|".join(word for word in typed if len(word) > 2)
    return f"^(-[^-{letters}]*[{letters}]|{words})$"


def _for_bash(command: _Command) -> dict[str, str]:
    options, commands = command.options, command.commands
    cases = [
        f"        {'|'.join(spellings(name, option))}) {_bash_values(option)}; return ;;\n"
        for name, option in options.items() if option.argument
    ]
    words = [word for name, option in options.items() for word in spellings(name, option)]
    return {
        "options": r"\n".join(words),
        "cases": "".join(cases),
        "commands": _BASH_COMMANDS.format("|".join(commands), r"\n".join(commands))
        if commands else "",
        "value": "" if command.options_anywhere
        else _BASH_VALUE.format(pattern=_awaiting(options)),
    }


def _bash_values(option: Option) -> str:
    if option.argument in _FILES:
        return 'COMPREPLY=($(compgen -f -- "$word"))'
    choices = _CHOICES.get(option.argument)
    if choices is None:
        return "COMPREPLY=()"
    return "COMPREPLY=($(compgen -W $'" + r"\n".join(choices) + "' -- \"$word\"))"


def _for_zsh(command: _Command) -> dict[str, str]:
    commands = command.commands
    lines = [line for name, option in command.options.items() for line in _zsh(name, option)]
    words = [f"'1:command:({' '.join(commands)})'", "'2:file:_files'"] if commands else []
    return {
        "options": "".join(f"        {line} \\\n" for line in lines),
        "commands": "".join(f"        {line} \\\n" for line in words),
        "value": "" if command.options_anywhere else "-A '-*' ",
        "place": "*" if command.options_anywhere else "1",
    }


def _zsh(name: str, option: Option) -> Iterator[str]:
    """Yield what zsh's _arguments expects, one for each name of an option."""
    meaning = option.meaning
    for letter in "[]:":
        meaning = meaning.replace(letter, f"\\{letter}")
    meaning = meaning.replace("'", "'\\''")
    argument = ""
    if option.argument:
        choices = _CHOICES.get(option.argument, ())
        action = "_files" if option.argument in _FILES else f"({' '.join(choices)})"
        argument = f":{option.argument}:{action if action != '()' else ' '}"
    for typed in spellings(name, option):
        attached = "=" * bool(option.argument and typed.startswith("--"))
        yield f"'*{typed}{attached}[{meaning}]{argument}'"


def _for_fish(command: _Command) -> dict[str, str]:
    tool, function, options, commands, options_anywhere = command
    words, pattern = " ".join(commands), _awaiting(options)
    before_pv = "" if options_anywhere else _FISH_BEFORE_PV.format(function=function)
    return {
        "options": "".join(
            f"complete -c {tool}{before_pv} {_fish(name, option)}\n"
            for name, option in options.items()
        ),
        "commands": _FISH_COMMANDS.format(tool=tool, words=words) if commands else "",
        "condition": f" -n '{_FISH_NAMES.format(words=words)}'" if commands else before_pv,
        "value": "" if options_anywhere
        else _FISH_VALUE.format(tool=tool, function=function, pattern=pattern),
    }


def _fish(name: str, option: Option) -> str:
    flags = [
        f"-l {typed[2:]}" if typed.startswith("--") else f"-s '{typed[1:]}'"
        for typed in spellings(name, option)
    ]
    if option.argument:
        choices = _CHOICES.get(option.argument)
        flags.append("-r -F" if option.argument in _FILES else "-x")  # -x: no files
        if choices:
            flags.append(f"-a '{' '.join(choices)}'")
    meaning = option.meaning.replace("\\", "\\\\").replace("'", "\\'")
    return f"{' '.join(flags)} -d '{meaning}'"


_SHELLS = {"bash": (_BASH, _for_bash), "zsh": (_ZSH, _for_zsh), "fish": (_FISH, _for_fish)}
