# Everything that this file does is Python in tools/; `make help` lists the targets.
SHELL := /bin/sh
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
ARGS ?=

# The environment's own interpreter if there is one, else the newest that the pinned requirements are for.
find_python = for each in python3.13 python3.12 python3.11 python3; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$each"; break; }; done
PYTHON ?= $(or $(wildcard .venv/bin/python),$(shell $(find_python)))
RUN := .venv/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help venv venv-test deploy undeploy status test coverage lint unit integration molecule docs changelog requirements clean

help: ## This list
	@echo "make <target> [ARGS='more arguments for the command below it']"; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

deploy: venv ## Deploy examples/worker to this machine and call it (ARGS goes to ansible-playbook)
	@$(RUN) tools.local deploy $(ARGS)

undeploy: venv ## Remove what `make deploy` has put on this machine
	@$(RUN) tools.local undeploy $(ARGS)

status: venv ## Show the workers that `make deploy` has started
	@$(RUN) tools.local status $(ARGS)

test: venv-test ## Every check and test (ARGS goes to pytest)
	@$(RUN) tools.testing all $(ARGS)

coverage: venv-test ## The same, and how much of the plugins it runs; takes about twice as long
	@$(RUN) tools.testing coverage $(ARGS)

lint: venv-test ## Only the linters, the type checker and the other quality gates
	@$(RUN) tools.testing quality $(ARGS)

unit: venv-test ## Only the unit tests
	@$(RUN) tools.testing unit $(ARGS)

integration: venv-test ## Only the tests over real state on this machine
	@$(RUN) tools.testing integration $(ARGS)

molecule: venv-test ## Only the scenarios on real hosts (root on Debian or Ubuntu)
	@$(RUN) tools.testing molecule $(ARGS)

docs: venv-test ## Write the generated parts of the documentation
	@$(RUN) tools.docs variables

changelog: venv-test ## Write CHANGELOG.md for the version in galaxy.yml from changelogs/fragments
	@PATH="$(CURDIR)/.venv/bin:$$PATH" antsibull-changelog release --reload-plugins --update-existing

requirements: venv ## Pin requirements/*.in anew, with hashes
	@$(RUN) tools.requirements $(ARGS)

clean: ## Remove what the targets above have made in this directory
	@rm -rf .venv .cache .ansible .mypy_cache .pytest_cache .ruff_cache .coverage* tests/output ew_ai-worker-*.tar.gz

venv venv-test:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found as python3.13, python3.12, python3.11 or python3." \
		"Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" tools/venv.py $(if $(filter %-test,$@),test,deploy)
