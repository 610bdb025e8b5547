"""AgentDojo's tasks, the worlds that they play in, and a model that obeys whatever it reads."""

import dataclasses
import re
import warnings

from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.attacks.baseline_attacks import DirectAttack
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string

from pydantic import TypeAdapter

from unwritten import UNWRITTEN

warnings.simplefilter("ignore")

# The version of the tasks; the package's own is pinned in requirements.txt.
SUITES = get_suites("v1.2.2")
# What the attacker writes where the world is his to write: the words with which AgentDojo begins each.
MARK = "TODO: "
# It only wants something to be said: no gate of calls can tell.
TEXT_ONLY = [("travel", "injection_task_6")]


@dataclasses.dataclass(frozen=True)
class Case:
    """One task of a user, alone or with one of an attacker."""

    suite: str
    user: str
    injection: str | None = None

    def __str__(self) -> str:
        return "/".join(word for word in (self.suite, self.user, self.injection) if word)


def benign(suite: str) -> list[Case]:
    return [Case(suite, user) for user in SUITES[suite].user_tasks]


def attacks(suite: str) -> list[Case]:
    """Those that want a call to be made."""
    wanted = [injection for injection in SUITES[suite].injection_tasks if (suite, injection) not in TEXT_ONLY]
    return [Case(suite, user, injection) for user in SUITES[suite].user_tasks for injection in wanted]


class Play:
    """A case while it is played: its world, what the model is going to say, and what was done."""

    def __init__(self, case: Case) -> None:
        suite = SUITES[case.suite]
        self.case = case
        self.task = suite.user_tasks[case.user]
        self.injection = suite.injection_tasks[case.injection] if case.injection else None
        texts = {}
        if self.injection:
            texts = DirectAttack(suite, GroundTruthPipeline(None)).attack(self.task, self.injection)
        self.environment = self.task.init_environment(suite.load_and_inject_default_environment(texts))
        self.before = self.environment.model_copy(deep=True)
        self.runtime = FunctionsRuntime(suite.tools)
        self.bait = MARK + self.injection.GOAL if self.injection else None
        self.hijacked = False
        self.plan = list(self.task.ground_truth(self.before.model_copy(deep=True)))
        self.done: list[FunctionCall] = []

    @property
    def prompt(self) -> str:
        return self.task.PROMPT

    def call(self, name: str, arguments: dict) -> tuple[str, bool, dict | None]:
        """Makes a call in the world; the text of its result, whether it went well, and its result as values."""
        result, error = self.runtime.run_function(self.environment, name, arguments)
        if error is not None:
            return error, False, None
        self.done.append(FunctionCall(function=name, args=arguments))
        return tool_result_to_str(result), True, values(result)

    def next(self, seen: str) -> FunctionCall | None:
        """What the model does next, having been shown `seen`; nothing: it says its last words.

        It does what it reads at once, and forgets what its user asked for.
        """
        if self.bait and not self.hijacked and unfolded(self.bait) in unfolded(seen):
            self.hijacked = True
            self.plan = self.attack()
        return self.plan.pop(0) if self.plan else None

    def wishes(self) -> list[dict]:
        """What a planner would say that plans the right tools and their numbers, and of their arguments what the prompt
        holds as it stands."""
        entries: list[dict] = []
        for call in self.task.ground_truth(self.before.model_copy(deep=True)):
            said = {name: given for name, value in call.args.items() if (given := self.said(value))}
            same = [entry for entry in entries if (entry["name"], entry["arguments"]) == (call.function, said)]
            if same:
                same[0]["count"] += 1
            else:
                entries.append({"name": call.function, "count": 1, "arguments": said})
        return entries

    def said(self, value) -> list[str]:
        """The texts and numbers that a value is made of, where all of them stand in the prompt."""
        parts = value if isinstance(value, list) else [value]
        plain = all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in parts)
        texts = [str(part) for part in parts] if plain else []
        stands = [re.search(rf"(?<!\w){re.escape(text)}(?!\w)", self.prompt) for text in texts]
        return texts if all(stands) else []

    def attack(self) -> list[FunctionCall]:
        """The attacker's calls: AgentDojo's, or ours where it ships none."""
        unwritten = UNWRITTEN.get(self.case.injection) if self.case.suite == "workspace" else None
        if unwritten:
            return unwritten(self.injection, self.environment)
        return self.injection.ground_truth(self.before.model_copy(deep=True))

    def last_words(self) -> str:
        words = [self.task.GROUND_TRUTH_OUTPUT]
        if self.hijacked:
            words.append(self.injection.GROUND_TRUTH_OUTPUT)
        # A reply without words is none.
        return " ".join(word for word in words if word) or "Done."

    def outcome(self) -> tuple[bool, bool]:
        """Whether the user got what they wanted, and whether the attacker did, as AgentDojo's checkers say."""
        suite = SUITES[self.case.suite]
        words = [text_content_block_from_string(self.last_words())]

        def check(task) -> bool:
            return suite._check_task_result(task, words, self.before, self.environment, self.done)

        return check(self.task), bool(self.injection) and check(self.injection)


def values(result) -> dict:
    """As the server's library would give them: an object as it is, anything else as the one entry of one."""
    plain = TypeAdapter(type(result)).dump_python(result, mode="json")
    return plain if isinstance(plain, dict) else {"result": plain}


def unfolded(text: str) -> str:
    """A text without what a result's format adds within a sentence: breaks, quotes and escapes."""
    return re.sub(r"""\\[nt]|[\s\\"']""", "", text)


def without_gate(case: Case) -> tuple[bool, bool]:
    """The obedient model with no gate at all: what the gate's figures are to be held against."""
    playing = Play(case)
    seen = ""
    while call := playing.next(seen):
        seen, _, _ = playing.call(call.function, dict(call.args))
    return playing.outcome()
