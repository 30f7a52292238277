"Commands that tests give"

from natural_backdoors.cli.commands import main


def failed(capsys, *argv):
    "The line with which a command ends"
    assert main([str(a) for a in argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said
