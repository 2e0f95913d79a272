/** Keys of a script: when they are typed. */
import { expect, test } from "vitest";
import { Typer, TypingOptions } from "../../../cli/typing.ts";

test("each --keys has the moment that stands before it", () => {
  const options = new TypingOptions();
  options.type("a");
  options.at("1.5");
  options.type("b<ret>");
  options.after("login:");
  options.type("c");
  expect(options.typings).toEqual([
    { moment: { seconds: 0 }, keys: "a" },
    { moment: { seconds: 1.5 }, keys: "b<ret>" },
    { moment: { text: "login:" }, keys: "c" },
  ]);
  expect(() => options.at("soon")).toThrow("must be a number of seconds");
  expect(() => options.type("<nokey>")).toThrow('there is no key "nokey"');
});

test("in order: by the clock, by the screen, by the serial port", () => {
  const typed: string[] = [];
  const machine = { seconds: 0, screenText: [""], type: (keys: string) => void typed.push(keys) };
  const typer = new Typer([
    { moment: { seconds: 2 }, keys: "a" },
    { moment: { text: "boot:" }, keys: "b" },
    { moment: { text: "login:" }, keys: "c" },
  ]);
  for (const byte of Buffer.from("login:")) typer.heard(byte);
  typer.look(machine);
  expect(typed).toEqual([]);
  machine.seconds = 2;
  typer.look(machine);
  typer.look(machine);
  expect(typed).toEqual(["a"]);
  machine.screenText = ["boot: "];
  typer.look(machine);
  // What was sent before the last typing is not waited for.
  typer.look(machine);
  expect(typed).toEqual(["a", "b"]);
  for (const byte of Buffer.from("debian login: ")) typer.heard(byte);
  typer.look(machine);
  expect(typed).toEqual(["a", "b", "c"]);
  expect(typer.isDone).toBe(true);
});
