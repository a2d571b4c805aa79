/** GitHub tree URLs, without GitHub's API: refs over git's smart HTTP, content as the tarball of the ref. */
import type { CodeUrl } from '@cliscale/contract/code-url'
import { SessionFailure } from '../failure.ts'
import { downloadSmall, type DownloadOptions } from './download.ts'
import { singleTopFolder } from './entry-plan.ts'
import { isVersion2, lsRefsRequest, parseRefs, type RefAndFolder, type Refs, splitRef } from './git-refs.ts'
import { nearest } from './nearest.ts'
import { printable } from './refusal.ts'

export type TreeUrl = Extract<CodeUrl, { kind: 'github-tree' }>

/** Branches and tags of a very large repository take about 2 MiB. */
const MAX_REFS_BYTES = 16 * 1024 * 1024

/** What git fetches from. */
export function repositoryUrl(tree: TreeUrl): string {
  return `${tree.origin}/${encodeURIComponent(tree.owner)}/${encodeURIComponent(tree.repo)}.git`
}

/**
 * Finds the ref and the folder that a tree URL means.
 * @throws SessionFailure `auth_required`, `ref_not_found`, and as `download`
 */
export async function resolveTree(tree: TreeUrl, options: DownloadOptions): Promise<RefAndFolder> {
  return splitRef(tree.refAndPath, await listRefs(repositoryUrl(tree), `${tree.owner}/${tree.repo}`, options))
}

/**
 * Branches and tags of a repository.
 * @param repository its address, as git fetches from it
 * @param name what people call it
 * @throws SessionFailure `auth_required`, and as `download`
 */
export async function listRefs(repository: string, name: string, options: DownloadOptions): Promise<Refs> {
  const context: DownloadOptions = { ...options, onStatus: (status) => notThere(name, status) }
  const headers = { 'git-protocol': 'version=2' }
  const advertisement = await downloadSmall(
    new URL(`${repository}/info/refs?service=git-upload-pack`),
    { method: 'GET', headers },
    MAX_REFS_BYTES,
    context,
  )
  if (!isVersion2(advertisement)) return parseRefs(advertisement)
  const answer = await downloadSmall(
    new URL(`${repository}/git-upload-pack`),
    {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/x-git-upload-pack-request',
        accept: 'application/x-git-upload-pack-result',
      },
      body: lsRefsRequest(),
    },
    MAX_REFS_BYTES,
    context,
  )
  return parseRefs(answer)
}

function notThere(name: string, status: number): SessionFailure | undefined {
  if (status !== 401 && status !== 404) return undefined
  return new SessionFailure(
    'auth_required',
    `The repository ${printable(name)} is private or does not exist. Check code_url; credentials are never sent.`,
  )
}

/** Where the tarball of a ref is: the bytes that `code_checksum_sha256` is for. */
export function tarballUrl(tree: TreeUrl, ref: string): URL {
  const [owner, repo, ...encoded] = [tree.owner, tree.repo, ...ref.split('/')].map(encodeURIComponent)
  const path = encoded.join('/')
  return tree.origin === 'https://github.com'
    ? new URL(`https://codeload.github.com/${owner}/${repo}/tar.gz/${path}`)
    : new URL(`${tree.origin}/${owner}/${repo}/archive/${path}.tar.gz`)
}

/**
 * The folder inside a tarball that becomes the workspace: exactly the one that the URL names, below the tarball's own.
 * @throws SessionFailure `folder_not_found`
 */
export function treeRoot(paths: readonly string[], { folder, shortRef }: RefAndFolder): string {
  const top = singleTopFolder(paths)
  if (folder === '') return top
  const root = top === '' ? folder : `${top}/${folder}`
  if (paths.some((path) => path.startsWith(`${root}/`))) return root
  throw folderNotFound(
    folder,
    shortRef,
    paths.map((path) => (top === '' ? path : path.slice(top.length + 1))),
  )
}

/** What to say of a folder that is not among `paths`, all of a repository. */
export function folderNotFound(folder: string, shortRef: string, paths: readonly string[]): SessionFailure {
  const isFile = paths.includes(folder)
  const hint = isFile ? ' It is a file; use the URL of its folder.' : nearestFolders(folder, paths)
  return new SessionFailure(
    'folder_not_found',
    `Folder ${printable(folder)} not found at ref ${printable(shortRef)}.${hint}`,
  )
}

function nearestFolders(folder: string, paths: readonly string[]): string {
  const folders = new Set<string>()
  for (const below of paths) {
    for (let at = below.indexOf('/'); at !== -1; at = below.indexOf('/', at + 1)) folders.add(below.slice(0, at))
  }
  const near = nearest(folder, [...folders])
  return near.length === 0 ? '' : ` Nearest: ${near.map(printable).join(', ')}.`
}
