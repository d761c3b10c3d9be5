"""A terminal, and what is seen on it."""

import io


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True

    @property
    def lines(self):
        """The lines on the screen, after all returns of the carriage."""
        lines, column = [""], 0
        for character in self.getvalue():
            if character == "\r":
                column = 0
            elif character == "\n":
                lines.append("")
                column = 0
            else:
                lines[-1] = lines[-1][:column].ljust(column) + character + lines[-1][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]
