/** Runs the command line of `cliscale`. */
import { Command, CommanderError } from 'commander'

const EXIT_FAILED = 1
const EXIT_USAGE = 2
const ONE_MACHINE = '@cliscale/one-machine'

const program = new Command('cliscale')
  .description('Runs command-line programs in throw-away sessions and shows them live in a browser tab.')
  .exitOverride()

program
  .command('up')
  .description('Run the whole system on this machine, on 127.0.0.1. Settings: CLISCALE_* (see docs/one-machine.md).')
  .action(async () => {
    process.exitCode = await up()
  })

/** The server is a package of its own, so that those who only talk to one need not install it. */
async function up(): Promise<number> {
  if (!isInstalled(ONE_MACHINE)) {
    process.stderr.write(
      `\`cliscale up\` needs the package ${ONE_MACHINE}, which is not installed. Install it where cliscale is: npm install ${ONE_MACHINE} (with --global if cliscale was)\n`,
    )
    return EXIT_FAILED
  }
  const { runUp } = await import('@cliscale/one-machine')
  return runUp()
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return false
    throw error
  }
}

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
}
